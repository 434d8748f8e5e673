//! Access to PostgreSQL: pools, connections for special purposes, the read replica, named statements and errors.
//! This module knows no table of the service.

mod clock;
mod connect;
mod error;
mod flush;
mod listen;
mod losses;
mod pool;
mod probe;
mod replica;
mod retry;
mod row;
mod servers;
mod session;
mod spans;
mod sqlstate;
mod statement;
mod url;

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

pub use clock::DatabaseClock;
pub use connect::{Kind, Source};
pub use error::Error;
pub use listen::in_time;
pub use pool::Pool;
pub use retry::{reconnecting, retrying};
pub(crate) use row::from_row;
pub use servers::Wanted;
pub use statement::{timed, timed_rows};
pub use url::InvalidUrl;

use crate::telemetry::catalogue::labels;
use replica::Replica;

/// Connections for the locks of jobs, each held as long as its job runs. In the general pool, a few jobs at once could
/// hold all of a small pool and wait for each other.
const LOCK_CONNECTIONS: u32 = 8;

/// Pool sizes and timeouts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections for everything except group commit and the locks of jobs.
    pub max_connections: u32,
    /// Connections for group commit.
    pub write_connections: u32,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
    /// URL of a replica for reads that may be behind, and the lag that is accepted.
    pub replica: Option<(String, Duration)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 16,
            // One for each batch that may be in flight.
            write_connections: 16,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(30),
            replica: None,
        }
    }
}

/// The service's database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    /// Reads, and writes outside group commit.
    pub general: Pool,
    /// Group commit, which must not wait behind readers.
    pub writing: Pool,
    /// Advisory locks of jobs.
    pub locking: Pool,
    replica: Option<Arc<Replica>>,
    primary: Arc<Source>,
}

impl Database {
    /// A database whose pools connect on first use.
    ///
    /// # Errors
    /// Names the setting whose URL cannot be used, and what is wrong with it.
    pub fn new(url: &str, settings: &Settings) -> Result<Self, InvalidUrl> {
        let source = |setting, url, wanted| {
            let source = Source::parse(url, wanted, settings.statement_timeout);
            source.map(Arc::new).map_err(|error| InvalidUrl(format!("{setting}: {error}")))
        };
        let primary = source("database.url", url, Wanted::Primary)?;
        let pool = |label, size, kind| Pool::lazy(label, size, settings.acquire_timeout, &primary, kind);
        let replica = settings.replica.as_ref().map(|(url, max_lag)| {
            let source = source("database.replica_url", url, Wanted::Standby)?;
            Ok::<_, InvalidUrl>(Arc::new(Replica::new(settings.max_connections, &source, *max_lag)))
        });
        Ok(Self {
            general: pool(labels::Pool::Read, settings.max_connections, Kind::Query),
            writing: pool(labels::Pool::Write, settings.write_connections, Kind::GroupCommit),
            locking: pool(labels::Pool::Lock, LOCK_CONNECTIONS, Kind::Query),
            replica: replica.transpose()?,
            primary,
        })
    }

    /// The clock of the primary.
    #[must_use]
    pub fn clock(&self) -> DatabaseClock {
        DatabaseClock::new(self.general.clone())
    }

    /// Connections that a process opens at most on the primary; besides its pools, for the change feed, for the hub (to listen and to
    /// notify) and for retention.
    #[must_use]
    pub const fn most_connections(settings: &Settings) -> u32 {
        settings.max_connections + settings.write_connections + LOCK_CONNECTIONS + 4
    }

    /// Checks that the servers can be used, before anything relies on it. A replica that cannot be reached is no error: reads go to
    /// the primary then.
    ///
    /// # Errors
    /// [`Error::Unsuitable`]; [`Error::Unavailable`] when no server accepts writes or answers.
    pub async fn check(&self) -> Result<(), Error> {
        if let Some(replica) = &self.replica
            && let Err(error @ Error::Unsuitable(_)) = replica.pool().ready().await
        {
            return Err(error);
        }
        self.primary.ready().await
    }

    /// The error of [`Database::listen`], with the server's reason.
    pub async fn explained(&self, error: Error) -> Error {
        self.primary.explained(error).await
    }

    /// A read that may be behind by the configured lag: from the replica while its lag is small enough, otherwise from the primary.
    /// It runs again, on another connection, when the connection broke.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and the read's.
    pub async fn read_behind<T, F: Future<Output = Result<T, Error>>>(
        &self,
        read: impl Fn(PoolConnection<Postgres>) -> F,
    ) -> Result<T, Error> {
        reconnecting(|_| async { read(self.read_connection().await?).await }).await
    }

    /// A connection for a read that may be behind by the configured lag: to the replica while its lag is small enough,
    /// otherwise to the primary.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn read_connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        replica::read_connection(self.replica.as_deref(), &self.general).await
    }

    /// A connection outside the pools.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn connect(&self, kind: Kind) -> Result<PgConnection, Error> {
        self.primary.connect(kind).await
    }

    /// Measures the replica's lag for as long as it is polled; returns at once when there is no replica.
    pub async fn watch_replica(&self) {
        if let Some(replica) = self.replica.as_deref() {
            replica.watch(&self.general).await;
        }
    }

    /// Publishes the gauges of every pool.
    pub fn publish_pools(&self) {
        let replica = self.replica.as_deref().map(Replica::pool);
        for pool in [&self.general, &self.writing, &self.locking].into_iter().chain(replica) {
            pool.publish();
        }
    }

    /// Closes every connection after the work in progress on it.
    pub async fn close(&self) {
        self.writing.close().await;
        self.locking.close().await;
        if let Some(replica) = &self.replica {
            replica.pool().close().await;
        }
        self.general.close().await;
    }
}

/// A name as an SQL identifier.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
