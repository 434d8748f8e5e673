//! The history of migrations in a database, compared with the migrations of this binary.

use std::fmt;

use sqlx::PgConnection;
use sqlx::migrate::MigrationType;

use super::{known, newest_version};
use crate::db::from_row;
use crate::telemetry::catalogue::statements::sql;

pub(in crate::store) const READ: &str =
    sql!(SchemaVersion, "SELECT version, description, checksum, success FROM _sqlx_migrations ORDER BY version");

/// The history has versions that this binary lacks: a newer one migrated the database, or one of another branch. Every command,
/// `dgm doctor` and `/ready` report it in these words, and none changes anything in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerSchema {
    unknown: Vec<i64>,
}

impl std::error::Error for NewerSchema {}

impl fmt::Display for NewerSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = self.unknown.iter().map(|version| format!("{version:04}")).collect::<Vec<_>>().join(", ");
        let (noun, they) = if self.unknown.len() == 1 { ("migration", "it") } else { ("migrations", "them") };
        write!(
            f,
            "this dgm ({}) is older than the schema: the database has {noun} {versions}, this dgm knows migrations up to {:04}. \
             Use the dgm that applied {they}, or a newer one; this one does not change the schema",
            env!("CARGO_PKG_VERSION"),
            newest_version(),
        )
    }
}

/// The state of one migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The binary has it, the database does not.
    Pending,
    /// The database has it.
    Applied,
    /// The database has it with another checksum.
    Changed,
    /// The history says that it failed.
    Failed,
    /// The database has it, the binary does not.
    Unknown,
}

/// One migration, of the binary or of the database.
#[derive(Debug, Clone)]
pub struct Status {
    /// Version of the migration.
    pub version: i64,
    /// Description, from the file name.
    pub description: String,
    /// What the database says of it.
    pub state: State,
}

/// The schema of a database, compared with the migrations of this binary.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Every migration of both, by version.
    pub migrations: Vec<Status>,
}

impl Schema {
    /// Of the rows of the history.
    #[must_use]
    pub fn new(applied: Vec<HistoryRow>) -> Self {
        let mut migrations: Vec<Status> = known(MigrationType::ReversibleUp)
            .map(|migration| {
                let state = match applied.iter().find(|row| row.version == migration.version) {
                    None => State::Pending,
                    Some(row) if !row.success => State::Failed,
                    Some(row) if migration.checksum != row.checksum => State::Changed,
                    Some(_) => State::Applied,
                };
                Status { version: migration.version, description: migration.description.to_string(), state }
            })
            .collect();
        let is_known = |row: &HistoryRow| known(MigrationType::ReversibleUp).any(|m| m.version == row.version);
        migrations.extend(applied.into_iter().filter(|row| !is_known(row)).map(|row| Status {
            version: row.version,
            description: row.description,
            state: State::Unknown,
        }));
        migrations.sort_by_key(|migration| migration.version);
        Self { migrations }
    }

    /// The newest migration that the database has; 0: none.
    #[must_use]
    pub fn newest(&self) -> i64 {
        let there = self.migrations.iter().filter(|m| !matches!(m.state, State::Pending | State::Failed));
        there.map(|migration| migration.version).max().unwrap_or(0)
    }

    /// Whether the database has no migration at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.migrations.iter().all(|migration| migration.state == State::Pending)
    }

    /// Whether the database has every migration of this binary, so that this binary can serve it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.migrations.iter().any(|migration| matches!(migration.state, State::Pending | State::Failed))
    }

    /// Why this binary cannot serve the database, and what to do; `None`: it can.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if self.is_complete() {
            return None;
        }
        if let Some(newer) = self.newer() {
            return Some(newer.to_string());
        }
        if self.is_empty() {
            return Some("the database has no schema: run `dgm migrate up`".to_owned());
        }
        let (newest, needed) = (self.newest(), newest_version());
        let below: Vec<String> = self
            .migrations
            .iter()
            .filter(|m| m.version < newest && matches!(m.state, State::Pending | State::Failed))
            .map(|m| format!("{:04}", m.version))
            .collect();
        Some(if below.is_empty() {
            format!("the schema is at {newest} and must be at {needed}: run `dgm migrate up`")
        } else {
            format!("the schema is at {newest} and lacks {}: run `dgm migrate up`", below.join(", "))
        })
    }

    /// The versions that this binary lacks, if there are any.
    #[must_use]
    pub fn newer(&self) -> Option<NewerSchema> {
        let unknown: Vec<i64> =
            self.migrations.iter().filter(|m| m.state == State::Unknown).map(|m| m.version).collect();
        (!unknown.is_empty()).then_some(NewerSchema { unknown })
    }
}

/// A row of the history.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    version: i64,
    description: String,
    checksum: Vec<u8>,
    success: bool,
}

from_row!(HistoryRow { version, description, checksum, success });

/// Reads the history without writing; nothing when the database was never migrated.
pub(super) async fn read(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let exists = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let rows = if sqlx::query_scalar(exists).fetch_one(&mut *connection).await? {
        sqlx::query_as(READ).fetch_all(connection).await?
    } else {
        Vec::new()
    };
    Ok(Schema::new(rows))
}
