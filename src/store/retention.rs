//! Dropping the partitions of months that are no longer kept, without stopping anybody.
//!
//! A partition is detached CONCURRENTLY, which waits for the transactions that may still look at it and blocks none; then
//! the table, which nobody can reach any more, is dropped. Whatever is interrupted in between is found by the next run: a
//! detachment that is pending is finished, a table that was detached is dropped.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::error::Error;
use super::partitions::{Partition, State};
use super::pool::{Store, timed};
use crate::telemetry::catalogue::statements::Statement;

/// A lock of the parent is asked for so long; a longer wait would hold up those behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

impl Store {
    /// Detaches and drops a partition; waits at most `patience` for those who look at it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when they took longer; a later call goes on where this one gave up.
    pub async fn drop_partition(&self, partition: &Partition, patience: Duration) -> Result<(), Error> {
        // Its own: neither statement may run in a transaction, and the limits differ from the pool's.
        let options = (*self.direct).clone().application_name("dgm-retention").options([
            ("client_connection_check_interval", "1s".to_owned()),
            ("statement_timeout", format!("{}ms", patience.as_millis())),
            ("lock_timeout", format!("{}ms", LOCK_TIMEOUT.as_millis())),
        ]);
        let mut connection = options.connect().await?;
        self.forget_months();
        let outcome = drop_on(&mut connection, partition).await;
        // What failed on it is told already.
        let _ = connection.close().await;
        outcome
    }
}

async fn drop_on(connection: &mut PgConnection, partition: &Partition) -> Result<(), Error> {
    let name = quoted(&partition.name);
    let parent = "ALTER TABLE dgm_performance_metrics DETACH PARTITION";
    match partition.state {
        State::Attached => run(connection, format!("{parent} {name} CONCURRENTLY")).await?,
        State::Detaching => run(connection, format!("{parent} {name} FINALIZE")).await?,
        State::Detached => {}
    }
    run(connection, format!("DROP TABLE {name}")).await
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), Error> {
    // The name is the catalogue's own, and quoted.
    let query = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(connection);
    timed(Statement::PartitionDrop, query).await.map(drop)
}

/// As an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
