//! One step: tried until it gets its locks, and on the record.

use std::time::Duration;

use sqlx::migrate::{Migrate as _, MigrateError, Migration, MigrationType};

use super::{Direction, Error, HISTORY, Session, Step, known, named_after};

/// Tries of what does not get its locks.
const ATTEMPTS: u32 = 10;
/// Between two of them, longer from try to try.
const PAUSE: Duration = Duration::from_millis(300);

impl Session {
    /// Drops what an interrupted `CREATE INDEX CONCURRENTLY` of this migration left: an index that is not valid.
    async fn clear_invalid_indexes(&mut self, migration: &'static Migration) -> Result<(), Error> {
        for index in named_after(migration.sql.as_str(), "INDEX CONCURRENTLY ") {
            self.drop_if_invalid(index).await?;
        }
        Ok(())
    }

    /// Drops an index that queries may not use.
    pub(super) async fn drop_if_invalid(&mut self, index: &str) -> Result<(), Error> {
        let invalid: Option<String> = sqlx::query_scalar(
            "SELECT quote_ident(c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace AND NOT i.indisvalid",
        )
        .bind(index)
        .fetch_optional(&mut self.connection)
        .await?;
        match invalid {
            Some(name) => self.run(format!("DROP INDEX CONCURRENTLY {name}")).await,
            None => Ok(()),
        }
    }

    /// One try. What locks tables waits for them briefly, since everybody else waits behind it; what is CONCURRENT waits for
    /// old transactions, and nobody for it.
    async fn attempt(
        &mut self,
        migration: &'static Migration,
        direction: Direction,
    ) -> Result<Result<Duration, MigrateError>, Error> {
        if direction == Direction::Up {
            self.clear_invalid_indexes(migration).await?;
        }
        let lock_timeout = if migration.no_tx { "SET lock_timeout = '15min'" } else { "SET lock_timeout = '2s'" };
        sqlx::raw_sql(lock_timeout).execute(&mut self.connection).await?;
        Ok(match direction {
            Direction::Up => self.connection.apply(HISTORY, migration).await,
            Direction::Down => self.connection.revert(HISTORY, migration).await,
        })
    }

    pub(super) async fn step(&mut self, version: i64, direction: Direction) -> Result<Step, Error> {
        let kind = match direction {
            Direction::Up => MigrationType::ReversibleUp,
            Direction::Down => MigrationType::ReversibleDown,
        };
        let migration = known(kind).find(|m| m.version == version).ok_or(Error::UnknownVersion(version))?;
        let started = std::time::Instant::now();
        let mut outcome = self.attempt(migration, direction).await?;
        let mut attempt = 1;
        while outcome.as_ref().is_err_and(is_lock_timeout) && may_try_again(attempt).await {
            outcome = self.attempt(migration, direction).await?;
            attempt += 1;
        }
        let took = started.elapsed();
        sqlx::query(
            "INSERT INTO dgm_migration_audit (version, direction, checksum, duration_ms, success, error_message)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(version)
        .bind(direction.as_str())
        .bind(migration.checksum.as_ref())
        .bind(took.as_secs_f64() * 1000.0)
        .bind(outcome.is_ok())
        .bind(outcome.as_ref().err().map(ToString::to_string))
        .execute(&mut self.connection)
        .await?;
        let description = migration.description.to_string();
        match outcome {
            Ok(_) => Ok(Step { version, description, direction, took }),
            Err(source) => Err(Error::Step { version, description, source }),
        }
    }
}

/// Whether there is another try after so many; answers when those who waited behind the last one had their turn.
pub(super) async fn may_try_again(attempt: u32) -> bool {
    let may = attempt < ATTEMPTS;
    if may {
        tokio::time::sleep(PAUSE * attempt).await;
    }
    may
}

fn is_lock_timeout(error: &MigrateError) -> bool {
    let (MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) = error else { return false };
    is_timeout(source)
}

/// `lock_not_available` (PostgreSQL, appendix A).
pub(super) fn is_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().is_some_and(|code| code == "55P03"))
}
