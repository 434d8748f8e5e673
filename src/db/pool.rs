//! A pool of connections whose waits and sizes are measured under the pool's label.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};
use tracing::Instrument as _;

use super::connect::{Kind, Source};
use super::error::Error;
use super::retry::reconnecting;
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
    connections: PgPool,
    source: Arc<Source>,
}

impl Pool {
    /// A pool that connects on first use.
    pub(super) fn lazy(
        label: labels::Pool,
        max_connections: u32,
        acquire_timeout: Duration,
        source: &Arc<Source>,
        kind: Kind,
    ) -> Self {
        let options = PgPoolOptions::new().max_connections(max_connections).acquire_timeout(acquire_timeout);
        Self { label, connections: source.pool(kind, options), source: Arc::clone(source) }
    }

    /// Checks the server before the first use.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        self.source.ready().await
    }

    /// A connection. The measured time includes the wait for a free one and, for a new one, connecting.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.source.ready().await?;
        let started = Instant::now();
        // Boxed, since its 4 kB would be copied with the future of every handler and batch.
        let connection = spans::waiting(Box::pin(self.connections.acquire()).as_mut()).await;
        match self.count(started, connection.map_err(Error::from)) {
            // Not all are in use: the server accepts no further ones.
            Err(error) if self.connections.size() < self.connections.options().get_max_connections() => {
                Err(Box::pin(self.source.explained(error)).await)
            }
            outcome => outcome,
        }
    }

    /// A transaction; it rolls back when it is dropped. It begins in a task of its own, which goes on when the caller is
    /// dropped: a connection whose BEGIN was in flight at that moment would return to the pool as one outside a transaction
    /// (sqlx counts transactions only after the answer), and the next writes on it would be acknowledged and never committed.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.source.ready().await?;
        let started = Instant::now();
        let pool = self.connections.clone();
        #[allow(clippy::disallowed_methods, reason = "here it cannot be dropped")]
        let attempt = async move {
            // Nothing is sent but BEGIN, so another connection can do the same.
            reconnecting(|_| async { pool.begin().await.map_err(Error::from) }).await
        };
        let begun = tokio::spawn(attempt).instrument(spans::begin()).await;
        self.count(started, begun.unwrap_or(Err(Error::Unavailable(sqlx::Error::WorkerCrashed))))
    }

    /// A read, which runs again on another connection when its own broke.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and the read's.
    pub async fn read<T, F: Future<Output = Result<T, Error>>>(
        &self,
        read: impl Fn(PoolConnection<Postgres>) -> F,
    ) -> Result<T, Error> {
        reconnecting(|_| async { read(self.acquire().await?).await }).await
    }

    /// Counts how long it took, and a timeout.
    fn count<T>(&self, started: Instant, outcome: Result<T, Error>) -> Result<T, Error> {
        DB_POOL_ACQUIRE_DURATION.observe((self.label,), started.elapsed());
        if outcome.as_ref().is_err_and(Error::is_pool_timeout) {
            DB_POOL_TIMEOUTS.increment((self.label,));
        }
        outcome
    }

    /// Publishes the gauges.
    pub(super) fn publish(&self) {
        let idle = self.connections.num_idle();
        let size = self.connections.size() as usize;
        POOL_CONNECTIONS.set((self.label, PoolState::Idle), figure(idle));
        POOL_CONNECTIONS.set((self.label, PoolState::Used), figure(size.saturating_sub(idle)));
        POOL_CONNECTIONS_MAX.set((self.label,), f64::from(self.connections.options().get_max_connections()));
    }

    /// Closes every connection after the work in progress on it.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}
