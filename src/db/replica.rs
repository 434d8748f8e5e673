//! Reads that may be a little behind, from a replica whose lag is known.
//!
//! The lag is measured: the primary's WAL position at a time, and when the replica has replayed up to it.
//! `pg_last_xact_replay_timestamp()` would report an idle replica as late, and cannot detect that the replica of an idle
//! primary is disconnected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use super::connect::{Kind, Source};
use super::error::Error;
use super::pool::Pool;
use super::statement::timed;
use crate::telemetry::catalogue::database::{DB_READS, DB_REPLICA_LAG};
use crate::telemetry::catalogue::labels::{self, Source as ReadSource};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// How long a read waits for a connection to the replica.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(250);
/// Time between two measurements.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Replica {
    pool: Pool,
    max_lag: Duration,
    started: Instant,
    /// Milliseconds since `started` as of which the replica has everything, plus one; 0: not known.
    as_of: AtomicU64,
}

impl Replica {
    pub(super) fn new(max_connections: u32, source: &Arc<Source>, max_lag: Duration) -> Self {
        // The primary can answer: do not wait for a lost replica.
        let pool = Pool::lazy(labels::Pool::Replica, max_connections, ACQUIRE_TIMEOUT, source, Kind::Query);
        Self { pool, max_lag, started: Instant::now(), as_of: AtomicU64::new(0) }
    }

    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How far it is behind, at most.
    fn lag(&self) -> Option<Duration> {
        let as_of = self.as_of.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(as_of)))
    }

    fn is_fresh(&self) -> bool {
        self.lag().is_some_and(|lag| lag <= self.max_lag)
    }

    fn reached(&self, at: Instant) {
        let at = u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX - 1);
        self.as_of.fetch_max(at + 1, Ordering::AcqRel);
    }
}

impl Replica {
    /// Measures the lag for as long as it is polled.
    pub(super) async fn watch(&self, primary: &Pool) {
        let mut reported = false;
        loop {
            match self.catch_up(primary).await {
                Ok(()) => reported = false,
                Err(error) if !reported => {
                    tracing::warn!(%error, "the replica's lag is unknown; reads go to the primary");
                    reported = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Records the primary's position and waits until the replica reaches it.
    async fn catch_up(&self, primary: &Pool) -> Result<(), Error> {
        let at = Instant::now();
        let mut connection = primary.acquire().await?;
        let query = sqlx::query_scalar(sql!(ReplicaLag, "SELECT pg_current_wal_insert_lsn()::text"))
            .fetch_one(&mut *connection);
        let target: String = timed(Statement::ReplicaLag, query).await?;
        drop(connection);
        loop {
            let mut connection = self.pool.acquire().await?;
            // A server that was promoted replays nothing and returns null: it is no longer a replica of this primary.
            let query = sqlx::query_scalar(sql!(
                ReplicaLag,
                "SELECT coalesce(pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= $1::pg_lsn, false)"
            ))
            .bind(&target)
            .fetch_one(&mut *connection);
            let reached = timed(Statement::ReplicaLag, query).await?;
            drop(connection);
            if reached {
                self.reached(at);
            }
            if let Some(lag) = self.lag() {
                DB_REPLICA_LAG.set((), lag.as_secs_f64());
            }
            if reached {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A connection to the replica while its lag is small enough, otherwise to the primary.
pub(super) async fn read_connection(
    replica: Option<&Replica>,
    primary: &Pool,
) -> Result<PoolConnection<Postgres>, Error> {
    if let Some(replica) = replica.filter(|replica| replica.is_fresh()) {
        // With several servers, choosing among them takes longer than the pool's own timeout; the next measurement does it.
        if let Ok(Ok(connection)) = tokio::time::timeout(ACQUIRE_TIMEOUT * 2, replica.pool.acquire()).await {
            DB_READS.increment((ReadSource::Replica,));
            return Ok(connection);
        }
        // Until the next measurement succeeds.
        replica.as_of.store(0, Ordering::Release);
    }
    DB_READS.increment((ReadSource::Primary,));
    primary.acquire().await
}
