//! Reads that may be a little behind, from a replica whose lag is known.
//!
//! The lag is measured, not asked for: the primary's position in its log at a time, and when the replica has replayed up to
//! there. `pg_last_xact_replay_timestamp()` would call an idle replica late and a disconnected one of a quiet primary, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::connections::Connections;
use super::error::Error;
use super::pool::{Store, timed};
use crate::telemetry::catalogue::database::{DB_READS, DB_REPLICA_LAG};
use crate::telemetry::catalogue::labels::{Pool, Source};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often the replica is asked.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Replica {
    connections: Connections,
    max_lag: Duration,
    started: Instant,
    /// Milliseconds since `started` as of which the replica has everything, plus one; 0: not known.
    as_of: AtomicU64,
}

impl Replica {
    pub(super) fn new(most: u32, options: PgConnectOptions, max_lag: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(most)
            // The primary is there to answer: neither wait for a replica that is gone nor run into a broken connection.
            .acquire_timeout(PATIENCE)
            .test_before_acquire(true)
            .connect_lazy_with(options);
        let connections = Connections::new(Pool::Replica, pool);
        Self { connections, max_lag, started: Instant::now(), as_of: AtomicU64::new(0) }
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
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

impl Store {
    /// A connection for a read that may be behind by the configured lag: of the replica while it is not behind by more,
    /// else of the primary.
    pub(super) async fn acquire_reading(&self) -> Result<PoolConnection<Postgres>, Error> {
        if let Some(replica) = self.replica.as_deref().filter(|replica| replica.is_fresh()) {
            if let Ok(connection) = replica.connections.acquire().await {
                DB_READS.increment((Source::Replica,));
                return Ok(connection);
            }
            // Until the watch finds it well again.
            replica.as_of.store(0, Ordering::Release);
        }
        DB_READS.increment((Source::Primary,));
        self.acquire().await
    }

    /// Measures the replica's lag for as long as it is polled; ends at once without one.
    pub async fn watch_replica(&self) {
        let Some(replica) = self.replica.as_deref() else { return };
        let mut complained = false;
        loop {
            match self.catch_up(replica).await {
                Ok(()) => complained = false,
                Err(error) if !complained => {
                    tracing::warn!(%error, "the replica's lag is not known; reads go to the primary");
                    complained = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Notes where the primary is and waits until the replica is there.
    async fn catch_up(&self, replica: &Replica) -> Result<(), Error> {
        let at = Instant::now();
        let mut connection = self.acquire().await?;
        let query = sqlx::query_scalar(sql!(ReplicaLag, "SELECT pg_current_wal_insert_lsn()::text"))
            .fetch_one(&mut *connection);
        let target: String = timed(Statement::ReplicaLag, query).await?;
        drop(connection);
        loop {
            let mut connection = replica.connections.acquire().await?;
            // A server that was promoted replays nothing and answers null: it is no replica of ours any more.
            let query = sqlx::query_scalar(sql!(
                ReplicaLag,
                "SELECT coalesce(pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= $1::pg_lsn, false)"
            ))
            .bind(&target)
            .fetch_one(&mut *connection);
            let there = timed(Statement::ReplicaLag, query).await?;
            drop(connection);
            if there {
                replica.reached(at);
            }
            if let Some(lag) = replica.lag() {
                DB_REPLICA_LAG.set((), lag.as_secs_f64());
            }
            if there {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
