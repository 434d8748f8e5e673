//! A pool of connections whose waits and sizes are measured under the pool's label.

use std::pin::pin;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres, Transaction};
use tracing::Instrument as _;

use super::error::Error;
use super::spans;
use crate::telemetry::catalogue::database::{
    DB_POOL_ACQUIRE_DURATION, DB_POOL_TIMEOUTS, POOL_CONNECTIONS, POOL_CONNECTIONS_MAX,
};
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::{self, PoolState};

/// A pool and the label of its metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    label: labels::Pool,
    pool: PgPool,
}

impl Pool {
    /// A pool that connects on first use.
    pub(super) fn lazy(
        label: labels::Pool,
        max_connections: u32,
        acquire_timeout: Duration,
        options: PgConnectOptions,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(acquire_timeout)
            // A ping before every use costs a round trip. A broken connection shows as an error and is replaced.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self::new(label, pool)
    }

    pub(super) const fn new(label: labels::Pool, pool: PgPool) -> Self {
        Self { label, pool }
    }

    /// A connection. The measured time includes the wait for a free one and, for a new one, connecting.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        let started = Instant::now();
        let connection = spans::waiting(pin!(self.pool.acquire())).await;
        Ok(self.count(started, connection)?)
    }

    /// A transaction; it rolls back when it is dropped. It begins in a task of its own, which goes on when the caller is
    /// dropped: a connection whose BEGIN was in flight at that moment would return to the pool as one outside a transaction
    /// (sqlx counts transactions only after the answer), and the next writes on it would be acknowledged and never committed.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let started = Instant::now();
        let pool = self.pool.clone();
        #[allow(clippy::disallowed_methods, reason = "here it cannot be dropped")]
        let begun = tokio::spawn(async move { pool.begin().await }).instrument(spans::begin()).await;
        Ok(self.count(started, begun.unwrap_or(Err(sqlx::Error::WorkerCrashed)))?)
    }

    /// Counts how long it took, and a timeout.
    fn count<T>(&self, started: Instant, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        DB_POOL_ACQUIRE_DURATION.observe((self.label,), started.elapsed());
        if matches!(outcome, Err(sqlx::Error::PoolTimedOut)) {
            DB_POOL_TIMEOUTS.increment((self.label,));
        }
        outcome
    }

    /// Publishes the gauges.
    pub(super) fn publish(&self) {
        let idle = self.pool.num_idle();
        let size = self.pool.size() as usize;
        POOL_CONNECTIONS.set((self.label, PoolState::Idle), figure(idle));
        POOL_CONNECTIONS.set((self.label, PoolState::Used), figure(size.saturating_sub(idle)));
        POOL_CONNECTIONS_MAX.set((self.label,), f64::from(self.pool.options().get_max_connections()));
    }

    /// Closes every connection after the work in progress on it.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
