//! Reversible migrations with an append-only audit of every step.
//!
//! sqlx keeps checksums of what is applied but forgets a migration once it is reverted, and takes its lock by a
//! blocking statement, which deadlocks with `CREATE INDEX CONCURRENTLY` of another migrator. So the steps are sqlx's,
//! and the lock (polled) and the history (`dgm_migration_audit`) are ours.

mod history;
mod inspection;
mod partitioned;
mod step;

use std::sync::LazyLock;
use std::time::Duration;

use include_dir::{Dir, File, include_dir};
use sqlx::migrate::{Migrate as _, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr as _};

use crate::closed::closed;
use crate::db::{self, InvalidUrl, Kind, Source, Wanted};

pub(super) use history::READ as HISTORY_ROWS;
pub use history::{NewerSchema, Schema, State, Status};
pub use inspection::Inspection;

/// Every migration, embedded in the binary.
pub static MIGRATOR: LazyLock<Migrator> =
    LazyLock::new(|| Migrator::with_migrations(FILES.files().filter_map(migration).collect()));

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

const HISTORY: &str = "_sqlx_migrations";
/// Key of the advisory lock that one migrator holds (`dgm_migr` in ASCII).
const LOCK_KEY: i64 = 0x6467_6d5f_6d69_6772;
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Why a migration command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to the database.
    #[error("{}", .cause.reason_of(.database))]
    Connect {
        /// Which database, on which server.
        database: String,
        /// Why not.
        cause: db::Error,
    },
    /// The server refused or the connection broke.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The URL is wrong.
    #[error("the URL of the database: {0}")]
    Url(#[from] InvalidUrl),
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
    /// The database has migrations that this binary does not know.
    #[error(transparent)]
    Newer(#[from] NewerSchema),
    /// The history says that a migration failed, and not what it left.
    #[error(
        "migration {0} failed when it was applied (success is false in _sqlx_migrations): undo what it left, delete its row, and \
         run `dgm migrate up`; dgm_migration_audit has the error"
    )]
    Failed(i64),
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

/// A dedicated connection that holds the migration lock; dropping it closes the connection and so frees the lock.
pub struct Session {
    connection: PgConnection,
}

impl Session {
    /// Connects and waits at most `patience` for the lock. A database with migrations that this binary does not know is left as
    /// it is, without the lock.
    ///
    /// # Errors
    /// [`Error::Newer`], [`Error::Locked`] when another migrator keeps the lock, [`Error::Connect`] when the server cannot be
    /// reached.
    pub async fn open(database_url: &str, patience: Duration) -> Result<Self, Error> {
        let mut connection = connect(database_url).await?;
        refuse_newer(&history::read(&mut connection).await?)?;
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
            "CREATE TABLE IF NOT EXISTS dgm_migration_audit (
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

    /// Every migration, of the binary and of the database, in order.
    ///
    /// # Errors
    /// [`Error::Database`] when the history cannot be read.
    pub async fn status(&mut self) -> Result<Vec<Status>, Error> {
        Ok(history::read(&mut self.connection).await?.migrations)
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
            if state.state == State::Pending && target.is_none_or(|t| state.version <= t) {
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
            if state.state == State::Applied && state.version > target {
                taken.push(self.step(state.version, Direction::Down).await?);
            }
        }
        Ok(taken)
    }

    /// The session's connection, for checks that run under the same lock.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// The migrations, if the history is one that this binary can go on from.
    async fn checked(&mut self, target: Option<i64>) -> Result<Vec<Status>, Error> {
        let schema = history::read(&mut self.connection).await?;
        // Again: another binary may have migrated while this one waited for the lock.
        refuse_newer(&schema)?;
        let status = schema.migrations;
        if let Some(version) = target.filter(|t| *t != 0 && !status.iter().any(|s| s.version == *t)) {
            return Err(Error::UnknownVersion(version));
        }
        match status.iter().find(|s| matches!(s.state, State::Changed | State::Failed)) {
            Some(Status { version, state: State::Failed, .. }) => Err(Error::Failed(*version)),
            Some(changed) => Err(Error::Drift(changed.version)),
            None => Ok(status),
        }
    }
}

fn refuse_newer(schema: &Schema) -> Result<(), NewerSchema> {
    schema.newer().map_or(Ok(()), Err)
}

async fn connect(database_url: &str) -> Result<PgConnection, Error> {
    let source = Source::parse(database_url, Wanted::Primary, Duration::ZERO)?;
    let connected = source.connect(Kind::Migration).await;
    connected.map_err(|error| Error::Connect { database: source.describe(), cause: error })
}

/// A file `<version>_<description>.{up,down}.sql` as `sqlx::migrate!` reads it; `None` for other files of the folder.
fn migration(file: &'static File<'static>) -> Option<Migration> {
    let (version, rest) = file.path().to_str()?.split_once('_')?;
    let kind = MigrationType::from_filename(rest);
    let description = rest.strip_suffix(kind.suffix())?.replace('_', " ");
    let sql = file.contents_utf8()?;
    let outside_transaction = sql.starts_with("-- no-transaction");
    let version = version.parse().ok()?;
    Some(Migration::new(version, description.into(), kind, sql.into_sql_str(), outside_transaction))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_folder_is_skipped() {
        let scripts = FILES.files().filter(|file| file.path().extension().is_some_and(|extension| extension == "sql"));
        assert_eq!(scripts.count(), MIGRATOR.iter().count());
    }
}
