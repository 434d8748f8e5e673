//! How long the server takes to make a commit durable, measured by a transaction that does nothing else.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::{Database, Error, timed};
use crate::telemetry::catalogue::database::DB_FLUSH_DURATION;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Between two measurements. Each costs three round trips, a transaction id and some 100 bytes of the log.
const EVERY: Duration = Duration::from_secs(1);
/// After which a commit that has not returned is counted, and again each time.
const STUCK: Duration = Duration::from_secs(10);
/// Writes a record of the log and no row: no table grows, no lock is taken, and no privilege is needed. Transactional, or COMMIT
/// would have nothing to flush.
const EMIT: &str = sql!(FlushProbe, "SELECT pg_logical_emit_message(true, 'dgm', '')::text");

impl Database {
    /// Measures commits for as long as it is polled. The server's own measure (`pg_stat_wal`) is there only where the administrator
    /// has set `track_wal_io_timing`, and the times of the service's writes contain their work and their waits for locks.
    pub async fn watch_flushes(&self) {
        loop {
            if let Err(error) = self.measure_flush().await {
                tracing::debug!(%error, "no measurement of a flush");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn measure_flush(&self) -> Result<(), Error> {
        let mut transaction = self.general.begin().await?;
        timed(Statement::FlushProbe, sqlx::query(EMIT).execute(&mut *transaction)).await?;
        let started = Instant::now();
        let mut commit = pin!(transaction.commit());
        loop {
            match tokio::time::timeout(STUCK, &mut commit).await {
                Ok(outcome) => {
                    outcome?;
                    DB_FLUSH_DURATION.observe((), started.elapsed());
                    return Ok(());
                }
                // One that hangs is counted while it does, or nothing would be known of it.
                Err(_) => DB_FLUSH_DURATION.observe((), started.elapsed()),
            }
        }
    }
}
