//! Reversible migrations with an append-only audit of every step.
//!
//! sqlx keeps checksums of what is applied but forgets a migration once it is reverted, and takes its lock by a
//! blocking statement, which deadlocks with `CREATE INDEX CONCURRENTLY` of another migrator. So the steps are sqlx's,
//! and the lock (polled) and the history (`dgm_migration_audit`) are ours.

mod partitioned;
mod step;

use std::time::Duration;

use sqlx::migrate::{Migrate as _, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{ConnectOptions as _, PgConnection};

use crate::db::{Kind, Source};

use crate::closed::closed;

/// Every migration, embedded in the binary.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

const HISTORY: &str = "_sqlx_migrations";
/// Key of the advisory lock that one migrator holds (`dgm_migr` in ASCII).
const LOCK_KEY: i64 = 0x6467_6d5f_6d69_6772;
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Why a migration command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused or the connection broke.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// One step failed; the steps before it stay applied.
    #[error("migration {version} ({description}) failed: {source}")]
    Step {
        /// Version of the failing migration.
        version: i64,
        /// Its description, from the file name.
        description: String,
        /// What the server said.
        source: MigrateError,
    },
    /// sqlx's bookkeeping failed.
    #[error("migration history: {0}")]
    History(#[from] MigrateError),
    /// Another migrator holds the lock.
    #[error("another migration is running (waited {0:?} for its lock)")]
    Locked(Duration),
    /// An applied migration's file was changed since, so neither direction can be trusted.
    #[error("migration {0} was changed after it was applied; restore its file (see `dgm migrate verify`)")]
    Drift(i64),
    /// The target is no known version.
    #[error("no migration has version {0}; see `dgm migrate status`")]
    UnknownVersion(i64),
}

closed! {
    /// The direction of a step, as written to the audit.
    pub Direction "direction" {
        /// Applying.
        Up "up",
        /// Reverting.
        Down "down",
    }
}

/// A step that was taken.
#[derive(Debug, Clone)]
pub struct Step {
    /// Version of the migration.
    pub version: i64,
    /// Description from the file name.
    pub description: String,
    /// Which way.
    pub direction: Direction,
    /// How long the server took.
    pub took: Duration,
}

/// What going up did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The indexes that were built on single partitions, as `index on partition`.
    pub indexes: Vec<String>,
}

/// One known migration and whether it is applied.
#[derive(Debug, Clone)]
pub struct Status {
    /// Version of the migration.
    pub version: i64,
    /// Description from the file name.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
    /// Whether the applied checksum differs from the file's.
    pub drifted: bool,
}

/// A dedicated connection that holds the migration lock; dropping it closes the connection and so frees the lock.
pub struct Session {
    connection: PgConnection,
}

impl Session {
    /// Connects and waits at most `patience` for the lock.
    ///
    /// # Errors
    /// [`Error::Locked`] when another migrator keeps the lock, [`Error::Database`] when the server cannot be reached.
    pub async fn open(database_url: &str, patience: Duration) -> Result<Self, Error> {
        let source = Source::parse(database_url, Duration::ZERO)?;
        let mut connection = source.options(Kind::Migration).connect().await?;
        let started = tokio::time::Instant::now();
        while !sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK_KEY)
            .fetch_one(&mut connection)
            .await?
        {
            if started.elapsed() >= patience {
                return Err(Error::Locked(patience));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
        connection.ensure_migrations_table(HISTORY).await?;
        // Not a migration itself: it must outlive `down --to 0`.
        sqlx::raw_sql(
            "SET client_min_messages = warning; CREATE TABLE IF NOT EXISTS dgm_migration_audit (
                id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                version bigint NOT NULL,
                direction varchar(4) NOT NULL CHECK (direction IN ('up', 'down')),
                checksum bytea NOT NULL,
                duration_ms double precision NOT NULL,
                success boolean NOT NULL,
                error_message text,
                performed_by text NOT NULL DEFAULT session_user,
                performed_at timestamptz NOT NULL DEFAULT clock_timestamp()
            )",
        )
        .execute(&mut connection)
        .await?;
        Ok(Self { connection })
    }

    /// Every migration the binary knows, in order.
    ///
    /// # Errors
    /// [`Error::History`] when the history cannot be read.
    pub async fn status(&mut self) -> Result<Vec<Status>, Error> {
        let applied = self.connection.list_applied_migrations(HISTORY).await?;
        Ok(known(MigrationType::ReversibleUp)
            .map(|migration| {
                let found = applied.iter().find(|a| a.version == migration.version);
                Status {
                    version: migration.version,
                    description: migration.description.to_string(),
                    applied: found.is_some(),
                    drifted: found.is_some_and(|a| a.checksum != migration.checksum),
                }
            })
            .collect())
    }

    /// Applies what is missing, up to `target` (all when `None`), and completes indexes of partitioned tables.
    ///
    /// # Errors
    /// [`Error::Step`] names the migration that failed; earlier ones stay applied.
    pub async fn up(&mut self, target: Option<i64>) -> Result<Applied, Error> {
        let states = self.checked(target).await?;
        // What an interrupted run left, before anything builds on it.
        let mut done = Applied { steps: Vec::new(), indexes: self.complete_indexes().await? };
        for state in states {
            if !state.applied && target.is_none_or(|t| state.version <= t) {
                done.steps.push(self.step(state.version, Direction::Up).await?);
                done.indexes.extend(self.complete_indexes().await?);
            }
        }
        Ok(done)
    }

    /// Reverts everything above `target`, newest first; 0 reverts all.
    ///
    /// # Errors
    /// [`Error::Step`] names the migration that failed; those reverted before it stay reverted.
    pub async fn down(&mut self, target: i64) -> Result<Vec<Step>, Error> {
        let mut taken = Vec::new();
        for state in self.checked(Some(target)).await?.into_iter().rev() {
            if state.applied && state.version > target {
                taken.push(self.step(state.version, Direction::Down).await?);
            }
        }
        Ok(taken)
    }

    /// The tables that `down(target)` would drop.
    ///
    /// # Errors
    /// [`Error::History`] when the history cannot be read.
    pub async fn tables_lost(&mut self, target: i64) -> Result<Vec<&'static str>, Error> {
        let going = self.status().await?.into_iter().filter(|s| s.applied && s.version > target);
        let going: Vec<i64> = going.map(|state| state.version).collect();
        let ups = known(MigrationType::ReversibleUp).filter(|migration| going.contains(&migration.version));
        Ok(ups.flat_map(|migration| named_after(migration.sql.as_str(), "CREATE TABLE ")).collect())
    }

    /// The session's connection, for checks that run under the same lock.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    async fn checked(&mut self, target: Option<i64>) -> Result<Vec<Status>, Error> {
        let status = self.status().await?;
        if let Some(version) = target.filter(|t| *t != 0 && !status.iter().any(|s| s.version == *t)) {
            return Err(Error::UnknownVersion(version));
        }
        match status.iter().find(|s| s.drifted) {
            Some(drifted) => Err(Error::Drift(drifted.version)),
            None => Ok(status),
        }
    }
}

/// The newest migration that this binary knows.
#[must_use]
pub fn newest_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn known(kind: MigrationType) -> impl Iterator<Item = &'static Migration> {
    MIGRATOR.iter().filter(move |m| m.migration_type == kind)
}

/// The words that follow a phrase, as in `CREATE TABLE users (`.
fn named_after(sql: &'static str, phrase: &'static str) -> impl Iterator<Item = &'static str> {
    let follows = sql.split(phrase).skip(1);
    follows.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
}
