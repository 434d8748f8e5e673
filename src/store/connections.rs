//! A pool's connections: given under a clock, and counted by the pool's name.

use std::pin::pin;
use std::time::Instant;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Transaction};
use tracing::Instrument as _;

use super::error::Error;
use super::follow;
use crate::telemetry::catalogue::database::{
    DB_POOL_ACQUIRE_DURATION, DB_POOL_TIMEOUTS, POOL_CONNECTIONS, POOL_CONNECTIONS_MAX,
};
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::{Pool, PoolState};

/// A pool with the name that its figures go by.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    name: Pool,
    pool: PgPool,
}

impl Connections {
    pub(super) fn new(name: Pool, pool: PgPool) -> Self {
        Self { name, pool }
    }

    /// A connection. The time until it is there holds the wait for a free one and, for a new one, connecting.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        let started = Instant::now();
        let connection = follow::acquire(pin!(self.pool.acquire())).await;
        Ok(self.count(started, connection)?)
    }

    /// A transaction, begun in a task of its own, which goes on when its caller is dropped. A connection whose BEGIN was under
    /// way at that moment would go back to the pool as one outside of transactions (sqlx counts them only after the answer), and
    /// the next writes on it would be answered and never committed.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let started = Instant::now();
        let pool = self.pool.clone();
        #[allow(clippy::disallowed_methods, reason = "here it cannot be dropped")]
        let begun = tokio::spawn(async move { pool.begin().await }).instrument(follow::begin()).await;
        Ok(self.count(started, begun.unwrap_or(Err(sqlx::Error::WorkerCrashed)))?)
    }

    /// Counts how long it took, and when there was none within the time allowed.
    fn count<T>(&self, started: Instant, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        DB_POOL_ACQUIRE_DURATION.observe((self.name,), started.elapsed());
        if matches!(outcome, Err(sqlx::Error::PoolTimedOut)) {
            DB_POOL_TIMEOUTS.increment((self.name,));
        }
        outcome
    }

    /// Publishes the gauges.
    pub(super) fn observe(&self) {
        let idle = self.pool.num_idle();
        let size = self.pool.size() as usize;
        POOL_CONNECTIONS.set((self.name, PoolState::Idle), figure(idle));
        POOL_CONNECTIONS.set((self.name, PoolState::Used), figure(size.saturating_sub(idle)));
        POOL_CONNECTIONS_MAX.set((self.name,), f64::from(self.pool.options().get_max_connections()));
    }

    /// Closes every connection, waiting for those in use.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
