//! Removing the partitions of months that are no longer kept, without blocking readers or writers.
//!
//! A partition is detached CONCURRENTLY, which waits for the transactions that may still read it and blocks none. The
//! table, which no session can write to any more, is read for its export and dropped. The next run continues after an
//! interruption: a pending detachment is finished, a detached table is exported and dropped.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::PartitionStore;
use crate::db::{Error, Kind, quoted, timed};
use crate::domain::partition::{Partition, PartitionState};
use crate::telemetry::catalogue::statements::{Statement, sql};

impl PartitionStore {
    /// Makes a partition a table of its own, unless it is one; waits at most `timeout` for the transactions that read it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after the timeout; a later call continues.
    pub async fn detach(&self, partition: &Partition, timeout: Duration) -> Result<(), Error> {
        let name = quoted(&partition.name);
        let parent = "ALTER TABLE dgm_performance_metrics DETACH PARTITION";
        self.forget_months();
        match partition.state {
            PartitionState::Attached => self.run_alone(timeout, format!("{parent} {name} CONCURRENTLY")).await,
            PartitionState::Detaching => self.run_alone(timeout, format!("{parent} {name} FINALIZE")).await,
            PartitionState::Detached => Ok(()),
        }
    }

    /// Drops a detached table.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is in use for longer than `timeout`.
    pub async fn drop_detached(&self, partition: &Partition, timeout: Duration) -> Result<(), Error> {
        self.run_alone(timeout, format!("DROP TABLE {}", quoted(&partition.name))).await
    }

    /// Runs a statement on a connection of its own: detaching may not run in a transaction, and its timeouts differ.
    async fn run_alone(&self, timeout: Duration, statement: String) -> Result<(), Error> {
        let mut connection = self.connect_for_retention(timeout).await?;
        // The name in it comes from the system catalogue and is quoted.
        let statement = format!(sql!(PartitionDrop, "{}"), statement);
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection);
        let outcome = timed(Statement::PartitionDrop, query).await;
        // Its failure is reported already.
        let _ = connection.close().await;
        outcome.map(drop)
    }

    pub(super) async fn connect_for_retention(&self, statement_timeout: Duration) -> Result<PgConnection, Error> {
        self.database.connect(Kind::Retention { statement_timeout }).await
    }
}
