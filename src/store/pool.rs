//! The connection pool: acquired under a clock, statements under their names.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool, Postgres};

use super::error::Error;
use super::migrate;
use crate::telemetry::catalogue::database::{
    DB_POOL_ACQUIRE_DURATION, DB_STATEMENT_DURATION, DB_STATEMENT_ERRORS, POOL_CONNECTIONS, POOL_CONNECTIONS_MAX,
};
use crate::telemetry::catalogue::labels::PoolState;
use crate::telemetry::catalogue::statements::Statement;

/// A statement that takes longer is logged.
const SLOW: Duration = Duration::from_secs(1);

/// How the pool behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most connections.
    pub max_connections: u32,
    /// Longest wait for a free one.
    pub acquire_timeout: Duration,
    /// Longest run of one statement.
    pub statement_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// The service's database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    /// Months known to have a partition, so that an insert need not ask. Only grows; a partition that retention drops
    /// is found out by the insert's error.
    pub(super) months: Arc<Mutex<BTreeSet<NaiveDate>>>,
}

impl Store {
    /// A store that connects when first asked.
    ///
    /// # Errors
    /// When the URL is no PostgreSQL URL.
    pub fn new(database_url: &str, settings: &Settings) -> Result<Self, sqlx::Error> {
        let milliseconds = |d: Duration| format!("{}ms", d.as_millis());
        let options: PgConnectOptions = database_url.parse::<PgConnectOptions>()?.application_name("dgm").options([
            ("statement_timeout", milliseconds(settings.statement_timeout)),
            ("lock_timeout", "5s".to_owned()),
            ("idle_in_transaction_session_timeout", "30s".to_owned()),
        ]);
        // `timed` tells slow statements by name, without a screenful of SQL.
        let options = options.disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            // A ping before every use costs a round trip; a broken connection shows itself as an error and is replaced.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool, months: Arc::default() })
    }

    /// The newest applied migration and the newest that this binary knows: `(applied, known)`.
    ///
    /// # Errors
    /// The server's, when it cannot be reached or was never migrated.
    pub async fn schema_version(&self) -> Result<(i64, i64), Error> {
        let mut connection = self.acquire().await?;
        let applied: Option<i64> = timed(
            Statement::SchemaVersion,
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(&mut *connection),
        )
        .await?;
        Ok((applied.unwrap_or(0), migrate::MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0)))
    }

    /// Publishes the pool's gauges.
    pub fn observe_pool(&self) {
        let idle = self.pool.num_idle();
        let size = self.pool.size() as usize;
        let gauge = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        POOL_CONNECTIONS.set((PoolState::Idle,), gauge(idle));
        POOL_CONNECTIONS.set((PoolState::Used,), gauge(size.saturating_sub(idle)));
        POOL_CONNECTIONS_MAX.set((), f64::from(self.pool.options().get_max_connections()));
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection. The time until it is there holds the wait for a free one and, for a new one, connecting.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        let started = Instant::now();
        let connection = self.pool.acquire().await;
        DB_POOL_ACQUIRE_DURATION.observe((), started.elapsed());
        Ok(connection?)
    }
}

/// Runs a statement under its name: latency and errors are counted by it.
pub(super) async fn timed<T>(
    statement: Statement,
    run: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    let started = Instant::now();
    let outcome = run.await;
    let took = started.elapsed();
    DB_STATEMENT_DURATION.observe((statement,), took);
    if took >= SLOW {
        tracing::warn!(statement = statement.as_str(), took_seconds = took.as_secs_f64(), "slow statement");
    }
    outcome.map_err(|error| {
        DB_STATEMENT_ERRORS.increment((statement,));
        let error = Error::from(error);
        tracing::debug!(?statement, %error, "statement failed");
        error
    })
}
