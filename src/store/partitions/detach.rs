//! Removing the partitions of months that are no longer kept, without blocking readers or writers.
//!
//! A partition is detached CONCURRENTLY, which waits for the transactions that may still read it and blocks none. The
//! table, which no session can write to any more, is read for its export and dropped. The next run continues after an
//! interruption: a pending detachment is finished, a detached table is exported and dropped.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{PartitionStore, holds};
use crate::db::{Error, Kind, quoted, timed};
use crate::domain::partition::{Partition, PartitionState};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Lets nobody place a hold until the transaction ends.
const LOCK_HOLDS: &str = sql!(PartitionDrop, "LOCK TABLE dgm_partition_holds IN SHARE ROW EXCLUSIVE MODE");
const END_HOLD: &str = sql!(PartitionDrop, "DELETE FROM dgm_partition_holds WHERE month = $1");

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

    /// Drops a detached table with the rest of its hold. `false`: its month is held, and the table stays. A hold that is placed at the same time
    /// either comes before the drop and prevents it, or waits for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is in use for longer than `timeout`.
    pub async fn drop_detached(&self, partition: &Partition, timeout: Duration) -> Result<bool, Error> {
        let mut connection = self.connect_for_retention(timeout).await?;
        #[allow(clippy::disallowed_methods, reason = "the connection is closed with this call")]
        let mut transaction = connection.begin().await?;
        let statement = format!(sql!(PartitionDrop, "DROP TABLE {}"), quoted(&partition.name));
        timed(Statement::PartitionDrop, sqlx::raw_sql(LOCK_HOLDS).execute(&mut *transaction)).await?;
        if let Some(month) = partition.month {
            if holds::held_until(&mut transaction, month).await?.is_some() {
                return Ok(false);
            }
            let query = sqlx::query(END_HOLD).bind(month).execute(&mut *transaction);
            timed(Statement::PartitionDrop, query).await?;
        }
        // The name in it comes from the system catalogue and is quoted.
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction);
        timed(Statement::PartitionDrop, query).await?;
        transaction.commit().await?;
        let _ = connection.close().await;
        Ok(true)
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
