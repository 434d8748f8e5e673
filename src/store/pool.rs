//! The database: its pools, statements under their names.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use futures_util::TryFutureExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Postgres, Transaction};
use tracing::Instrument as _;

use super::archive::{NewRow, Since};
use super::connections::Connections;
use super::error::Error;
use super::follow;
use super::improvements::{Done, Heartbeat, Queueing, Wish};
use super::migrate;
use super::replica::Replica;
use super::samples::Ingest;
use super::writer::Writer;
use crate::telemetry::catalogue::database::{DB_STATEMENT_DURATION, DB_STATEMENT_ERRORS};
use crate::telemetry::catalogue::labels::Pool;
use crate::telemetry::catalogue::statements::{Statement, sql};

const SCHEMA_VERSION: &str = sql!(SchemaVersion, "SELECT max(version) FROM _sqlx_migrations WHERE success");
/// Connections for the locks of jobs, each held as long as its job runs: if they were the general pool's, a few jobs at once could
/// hold all of a small one and wait for each other.
const LOCKING: u32 = 8;
/// Of statements whose values come in arrays. They find their rows by keys, whatever is believed of a table: one that has grown
/// since it was looked at would be read whole. And one plan serves all: without statistics, planning each anew took as long
/// as running it.
const GROUPED: [(&str, &str); 2] = [("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan")];
/// A statement that takes longer is logged.
const SLOW: Duration = Duration::from_secs(1);

/// How the pools behave.
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
            // One for each batch that may be under way.
            write_connections: 16,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(30),
            replica: None,
        }
    }
}

/// The service's database.
#[derive(Debug, Clone)]
pub struct Store {
    general: Connections,
    /// For group commit, which must not wait behind readers.
    writing: Connections,
    /// For the locks of jobs.
    locking: Connections,
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
    pub(super) changes: Writer<Since>,
    pub(super) queueing: Writer<Queueing>,
    pub(super) claims: Writer<Wish>,
    pub(super) completions: Writer<Done>,
    pub(super) heartbeats: Writer<Heartbeat>,
}

impl Writers {
    /// Writes what is waiting and ends.
    async fn close(&self) {
        self.queueing.close().await;
        self.claims.close().await;
        self.completions.close().await;
        self.heartbeats.close().await;
        self.samples.close().await;
        self.entries.close().await;
        self.changes.close().await;
    }
}

impl Store {
    /// A store that connects when first asked.
    ///
    /// # Errors
    /// When the URL is no PostgreSQL URL.
    pub fn new(database_url: &str, settings: &Settings) -> Result<Self, sqlx::Error> {
        let options = options(database_url, settings)?;
        let pool = |name, most, options: &PgConnectOptions| {
            let pool = PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(settings.acquire_timeout)
                // A ping before every use costs a round trip; a broken connection shows itself as an error and is
                // replaced.
                .test_before_acquire(false)
                .connect_lazy_with(options.clone());
            Connections::new(name, pool)
        };
        let replica = settings.replica.as_ref().map(|(url, max_lag)| {
            let options = self::options(url, settings)?;
            Ok::<_, sqlx::Error>(Arc::new(Replica::new(settings.max_connections, options, *max_lag)))
        });
        Ok(Self {
            general: pool(Pool::Read, settings.max_connections, &options),
            writing: pool(Pool::Write, settings.write_connections, &options.clone().options(GROUPED)),
            locking: pool(Pool::Lock, LOCKING, &options),
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

    /// Publishes the gauges of every pool that there is.
    pub fn observe_pools(&self) {
        let replica = self.replica.as_deref().map(Replica::connections);
        for pool in [&self.general, &self.writing, &self.locking].into_iter().chain(replica) {
            pool.observe();
        }
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.writers.close().await;
        self.writing.close().await;
        self.locking.close().await;
        if let Some(replica) = &self.replica {
            replica.connections().close().await;
        }
        self.general.close().await;
    }

    /// A connection. The time until it is there holds the wait for a free one and, for a new one, connecting.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.general.acquire().await
    }

    /// A transaction; it rolls back when it is dropped.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.general.begin().await
    }

    /// A transaction of a connection for group commit.
    pub(super) async fn begin_writing(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.writing.begin().await
    }

    /// A connection for the lock of a job.
    pub(super) async fn acquire_locking(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.locking.acquire().await
    }

    /// A connection for group commit.
    pub(super) async fn acquire_writing(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.writing.acquire().await
    }
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
