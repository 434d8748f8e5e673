//! The connection pool: acquired under a clock, statements under their names.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use futures_util::TryFutureExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool, Postgres, Transaction};
use tracing::Instrument as _;

use super::archive::NewRow;
use super::error::Error;
use super::follow;
use super::improvements::{Done, Queueing, Wish};
use super::migrate;
use super::replica::Replica;
use super::samples::Ingest;
use super::writer::Writer;
use crate::telemetry::catalogue::database::{
    DB_POOL_ACQUIRE_DURATION, DB_POOL_TIMEOUTS, DB_STATEMENT_DURATION, DB_STATEMENT_ERRORS, POOL_CONNECTIONS,
    POOL_CONNECTIONS_MAX,
};
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::PoolState;
use crate::telemetry::catalogue::statements::{Statement, sql};

const SCHEMA_VERSION: &str = sql!(SchemaVersion, "SELECT max(version) FROM _sqlx_migrations WHERE success");
/// Connections for the locks of jobs, each held as long as its job runs: if they were the pool's, a few jobs at once could
/// hold all of a small one and wait for each other.
const LOCKING: u32 = 8;
/// A statement that takes longer is logged.
const SLOW: Duration = Duration::from_secs(1);

/// How the pool behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most connections for all but group commit and the locks of jobs.
    pub max_connections: u32,
    /// Most connections for group commit.
    pub write_connections: u32,
    /// Longest wait for a free one.
    pub acquire_timeout: Duration,
    /// Longest run of one statement.
    pub statement_timeout: Duration,
    /// A replica for reads that may be behind, and by how much they may.
    pub replica: Option<(String, Duration)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 16,
            // One for each batch that may be under way, and some more for what is too large to be joined to others.
            write_connections: 12,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(30),
            replica: None,
        }
    }
}

/// The service's database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    /// For group commit, which must not wait behind readers.
    writing: PgPool,
    /// For the locks of jobs.
    locking: PgPool,
    pub(super) writers: Arc<Writers>,
    pub(super) replica: Option<Arc<Replica>>,
    /// For connections that are not the pool's.
    pub(super) direct: Arc<PgConnectOptions>,
    /// Months known to have a partition, so that an insert need not ask. Only grows; a partition that retention drops
    /// is found out by the insert's error.
    pub(super) months: Arc<Mutex<BTreeSet<NaiveDate>>>,
}

/// Writers that commit in groups.
#[derive(Debug, Default)]
pub(super) struct Writers {
    pub(super) samples: Writer<Ingest>,
    pub(super) entries: Writer<NewRow>,
    pub(super) queueing: Writer<Queueing>,
    pub(super) claims: Writer<Wish>,
    pub(super) completions: Writer<Done>,
}

impl Writers {
    /// Writes what is waiting and ends.
    async fn close(&self) {
        self.queueing.close().await;
        self.claims.close().await;
        self.completions.close().await;
        self.samples.close().await;
        self.entries.close().await;
    }
}

impl Store {
    /// A store that connects when first asked.
    ///
    /// # Errors
    /// When the URL is no PostgreSQL URL.
    pub fn new(database_url: &str, settings: &Settings) -> Result<Self, sqlx::Error> {
        let options = options(database_url, settings)?;
        let pool = |connections, options: &PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.acquire_timeout)
                // A ping before every use costs a round trip; a broken connection shows itself as an error and is
                // replaced.
                .test_before_acquire(false)
                .connect_lazy_with(options.clone())
        };
        let replica = settings.replica.as_ref().map(|(url, max_lag)| {
            let options = self::options(url, settings)?;
            Ok::<_, sqlx::Error>(Arc::new(Replica::new(settings.max_connections, options, *max_lag)))
        });
        Ok(Self {
            pool: pool(settings.max_connections, &options),
            writing: pool(settings.write_connections, &options),
            locking: pool(LOCKING, &options),
            writers: Arc::default(),
            replica: replica.transpose()?,
            direct: Arc::new(options),
            months: Arc::default(),
        })
    }

    /// The newest applied migration and the newest that this binary knows: `(applied, known)`.
    ///
    /// # Errors
    /// The server's, when it cannot be reached or was never migrated.
    pub async fn schema_version(&self) -> Result<(i64, i64), Error> {
        let mut connection = self.acquire().await?;
        let applied: Option<i64> =
            timed(Statement::SchemaVersion, sqlx::query_scalar(SCHEMA_VERSION).fetch_one(&mut *connection)).await?;
        Ok((applied.unwrap_or(0), migrate::MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0)))
    }

    /// Publishes the pool's gauges.
    pub fn observe_pool(&self) {
        let idle = self.pool.num_idle();
        let size = self.pool.size() as usize;
        POOL_CONNECTIONS.set((PoolState::Idle,), figure(idle));
        POOL_CONNECTIONS.set((PoolState::Used,), figure(size.saturating_sub(idle)));
        POOL_CONNECTIONS_MAX.set((), f64::from(self.pool.options().get_max_connections()));
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.writers.close().await;
        self.writing.close().await;
        self.locking.close().await;
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        self.pool.close().await;
    }

    /// A connection. The time until it is there holds the wait for a free one and, for a new one, connecting.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        acquire(&self.pool).await
    }

    /// A transaction; it rolls back when it is dropped.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        begin(self.pool.clone()).await
    }

    /// A transaction of a connection for group commit.
    pub(super) async fn begin_writing(&self) -> Result<Transaction<'static, Postgres>, Error> {
        begin(self.writing.clone()).await
    }

    /// A connection for the lock of a job.
    pub(super) async fn acquire_locking(&self) -> Result<PoolConnection<Postgres>, Error> {
        acquire(&self.locking).await
    }

    /// A connection for group commit.
    pub(super) async fn acquire_writing(&self) -> Result<PoolConnection<Postgres>, Error> {
        acquire(&self.writing).await
    }
}

/// In a task of its own, which goes on when its caller is dropped. A connection whose BEGIN was under way at that moment
/// would go back to the pool as one outside of transactions (sqlx counts them only after the answer), and the next writes
/// on it would be answered and never committed.
async fn begin(pool: PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    let started = Instant::now();
    #[allow(clippy::disallowed_methods, reason = "here it cannot be dropped")]
    let begun = tokio::spawn(async move { pool.begin().await }).instrument(follow::begin()).await;
    DB_POOL_ACQUIRE_DURATION.observe((), started.elapsed());
    Ok(in_time(begun.map_err(|_| sqlx::Error::WorkerCrashed)?)?)
}

fn options(url: &str, settings: &Settings) -> Result<PgConnectOptions, sqlx::Error> {
    let options = url.parse::<PgConnectOptions>()?.application_name("dgm").options([
        ("statement_timeout", format!("{}ms", settings.statement_timeout.as_millis())),
        ("lock_timeout", "5s".to_owned()),
        ("idle_in_transaction_session_timeout", "30s".to_owned()),
        // Compiling costs a second where the plan takes a hundredth of it.
        ("jit", "off".to_owned()),
        // What a process that was killed had begun ends soon after it.
        ("client_connection_check_interval", "5s".to_owned()),
        // By the default of 4, which is that of a spinning disk, the planner walks a large index in order rather than look
        // up a small part of another.
        ("random_page_cost", "1.1".to_owned()),
    ]);
    // `timed` tells slow statements by name, without a screenful of SQL.
    Ok(options.disable_statement_logging())
}

pub(super) async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, Error> {
    let started = Instant::now();
    let connection = connect(pool).await;
    DB_POOL_ACQUIRE_DURATION.observe((), started.elapsed());
    Ok(in_time(connection)?)
}

/// The same of a pool without which nothing fails: it may have none, and that is not counted.
pub(super) async fn connect(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    follow::acquire(pin!(pool.acquire())).await
}

/// Counts it when there was none within the time allowed.
fn in_time<T>(connection: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    if matches!(connection, Err(sqlx::Error::PoolTimedOut)) {
        DB_POOL_TIMEOUTS.increment(());
    }
    connection
}

/// Runs a statement under its name: latency and errors are counted by it.
pub(super) async fn timed<T>(
    statement: Statement,
    run: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    let span = follow::statement(statement);
    let started = Instant::now();
    let outcome = run.instrument(span.clone()).await;
    follow::failed(&span, &outcome);
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

/// The same for a statement that answers with rows; its span says how many.
pub(super) fn timed_rows<T>(
    statement: Statement,
    run: impl Future<Output = Result<Vec<T>, sqlx::Error>>,
) -> impl Future<Output = Result<Vec<T>, Error>> {
    timed(statement, run.inspect_ok(|rows| follow::answered(rows)))
}
