//! Taking away the partitions of months that are no longer kept, without stopping anybody.
//!
//! A partition is detached CONCURRENTLY, which waits for the transactions that may still look at it and blocks none; the
//! table, which nobody can write to any more, is read for its export, and dropped. Whatever is interrupted in between is
//! found by the next run: a detachment that is pending is finished, a table that was detached goes on from there.

mod reader;

use std::time::Duration;

pub use reader::{Contents, SampleReader};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::error::Error;
use super::partitions::{Partition, State};
use super::pool::{Store, timed};
use super::quoted;
use crate::telemetry::catalogue::statements::{Statement, sql};

impl Store {
    /// Makes a partition a table of its own, unless it is one; waits at most `patience` for those who look at it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when they took longer; a later call goes on where this one gave up.
    pub async fn detach_partition(&self, partition: &Partition, patience: Duration) -> Result<(), Error> {
        let name = quoted(&partition.name);
        let parent = "ALTER TABLE dgm_performance_metrics DETACH PARTITION";
        self.forget_months();
        match partition.state {
            State::Attached => self.alone(patience, format!("{parent} {name} CONCURRENTLY")).await,
            State::Detaching => self.alone(patience, format!("{parent} {name} FINALIZE")).await,
            State::Detached => Ok(()),
        }
    }

    /// Drops the table that a partition became.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is in use for longer than `patience`.
    pub async fn drop_detached(&self, partition: &Partition, patience: Duration) -> Result<(), Error> {
        self.alone(patience, format!("DROP TABLE {}", quoted(&partition.name))).await
    }

    /// On a connection of its own: detaching may not run in a transaction, and the limits differ from the pool's.
    async fn alone(&self, patience: Duration, statement: String) -> Result<(), Error> {
        let mut connection = self.connect_for_retention(patience).await?;
        // The name in it is the catalogue's own, and quoted.
        let statement = format!(sql!(PartitionDrop, "{}"), statement);
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection);
        let outcome = timed(Statement::PartitionDrop, query).await;
        // What failed on it is told already.
        let _ = connection.close().await;
        outcome.map(drop)
    }

    async fn connect_for_retention(&self, patience: Duration) -> Result<PgConnection, Error> {
        let options = (*self.direct).clone().application_name("dgm-retention").options([
            ("client_connection_check_interval", "1s".to_owned()),
            ("statement_timeout", format!("{}ms", patience.as_millis())),
            // None of its waits holds up readers or writers; waiting for old transactions counts as waiting for a lock.
            ("lock_timeout", "0".to_owned()),
        ]);
        Ok(options.connect().await?)
    }
}
