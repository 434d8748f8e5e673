//! The only place where a connection gets its host, its name and its session parameters.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};

use super::error::Error;
use super::servers::{Servers, Wanted, located};
use super::url::{InvalidUrl, parse};
use super::{losses, session};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Statements of requests and jobs.
    Query,
    /// Statements whose values come in arrays.
    GroupCommit,
    /// LISTEN, and polls of the change feed.
    ChangeFeed,
    /// LISTEN and reads of the hub.
    Hub,
    /// NOTIFY of the hub.
    Notify,
    /// Detaching, reading and dropping partitions.
    Retention {
        /// How long one statement may run; zero: without limit.
        statement_timeout: Duration,
    },
    /// The migrator.
    Migration,
}

impl Kind {
    /// The name by which the server lists such connections.
    #[must_use]
    pub const fn application_name(self) -> &'static str {
        match self {
            Self::Query | Self::GroupCommit => "dgm",
            Self::ChangeFeed => "dgm-feed",
            Self::Hub => "dgm-hub",
            Self::Notify => "dgm-notify",
            Self::Retention { .. } => "dgm-retention",
            Self::Migration => "dgm migrate",
        }
    }
}

/// A connection that was used within this time is not tested before its next use.
const TRUSTED: Duration = Duration::from_secs(1);
/// Longest wait for the answer of such a test. Behind a firewall that forgot the connection there is none.
const TEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Where connections are made to: one of the servers of a URL.
#[derive(Debug)]
pub struct Source {
    servers: Arc<Servers>,
    statement_timeout: Duration,
    /// The session parameters of the URL.
    parameters: Vec<(String, String)>,
    /// The pools that follow the choice of the server.
    pools: Mutex<Vec<(PgPool, Kind)>>,
}

impl Source {
    /// The servers of a URL.
    ///
    /// # Errors
    /// When it is not a PostgreSQL URL.
    pub fn parse(url: &str, wanted: Wanted, statement_timeout: Duration) -> Result<Self, InvalidUrl> {
        let parsed = parse(url, wanted)?;
        let search_path_is_given = parsed.parameters.iter().any(|(name, _)| name == "search_path");
        Ok(Self {
            servers: Arc::new(Servers::new(parsed.servers, wanted, search_path_is_given)),
            statement_timeout,
            parameters: parsed.parameters,
            pools: Mutex::default(),
        })
    }

    /// Checks the server before the first connection, and with several servers chooses again after connections were lost.
    ///
    /// # Errors
    /// [`Error::Unsuitable`], and [`Error::Unavailable`] when no server that is wanted can be reached.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        if self.servers.is_checked() {
            return Ok(());
        }
        let adopt = |options: &PgConnectOptions| {
            for (pool, kind) in self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                pool.set_connect_options(named(options, *kind));
            }
        };
        // Boxed, since its 4 kB would be in the future of every statement.
        Box::pin(self.servers.check(adopt)).await
    }

    /// The error of a pool that could open no connection, with the server's reason instead of "not in time".
    pub(super) async fn explained(&self, error: Error) -> Error {
        let refusal = if error.is_pool_timeout() { self.servers.refusal().await } else { None };
        refusal.unwrap_or(error)
    }

    /// The database, its server and the role, for messages; never the password.
    #[must_use]
    pub fn describe(&self) -> String {
        let Some((server, options)) = self.servers.chosen() else { return "no database".to_owned() };
        let role = options.get_username();
        // PostgreSQL's default.
        let database = options.get_database().unwrap_or(role);
        format!("database {database:?} on {server} as {role:?}")
    }

    /// A connection outside the pools.
    ///
    /// # Errors
    /// [`Error::Unsuitable`], [`Error::Unavailable`].
    pub async fn connect(&self, kind: Kind) -> Result<PgConnection, Error> {
        self.ready().await?;
        let (server, options) = self.servers.chosen().ok_or(sqlx::Error::PoolClosed)?;
        let connected = async {
            let mut connection = named(options, kind).connect().await?;
            sqlx::raw_sql(AssertSqlSafe(self.session(kind))).execute(&mut connection).await?;
            Ok(connection)
        };
        connected.await.map_err(|error| located(server, error))
    }

    /// A pool that connects on first use, and follows the choice of the server.
    pub(super) fn pool(&self, kind: Kind, options: PgPoolOptions) -> PgPool {
        let pool = self.unfollowed_pool(kind, options);
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push((pool.clone(), kind));
        pool
    }

    /// A pool of connections to the server that is chosen now.
    pub(super) fn unfollowed_pool(&self, kind: Kind, options: PgPoolOptions) -> PgPool {
        let session: Arc<str> = self.session(kind).into();
        let servers = Arc::clone(&self.servers);
        let connect = self.servers.chosen().map_or_else(PgConnectOptions::new, |(_, options)| options.clone());
        options
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let session = Arc::clone(&session);
                Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(session)).execute(connection).await.map(drop) })
            })
            .before_acquire(move |connection, metadata| {
                if is_trusted(&servers, &metadata) {
                    return Box::pin(std::future::ready(Ok(true)));
                }
                if leads_elsewhere(&servers, &metadata) {
                    return Box::pin(std::future::ready(Ok(false)));
                }
                Box::pin(async move {
                    Ok(tokio::time::timeout(TEST_TIMEOUT, connection.ping()).await.is_ok_and(|answer| answer.is_ok()))
                })
            })
            .connect_lazy_with(named(&connect, kind))
    }

    fn session(&self, kind: Kind) -> String {
        session::statement(kind, self.statement_timeout, &self.parameters)
    }
}

/// A test before every use would cost each statement a round trip. For a while after a loss every use is tested, since a restart
/// ends connections one after the other.
fn is_trusted(servers: &Servers, metadata: &PoolConnectionMetadata) -> bool {
    metadata.idle_for < TRUSTED
        && !losses::within(metadata.idle_for.max(TRUSTED))
        && !leads_elsewhere(servers, metadata)
}

/// Whether the connection was made before another server was chosen, or before its own was found to be read-only.
fn leads_elsewhere(servers: &Servers, metadata: &PoolConnectionMetadata) -> bool {
    servers.changed_within(metadata.age) || losses::read_only_within(metadata.age)
}

fn named(options: &PgConnectOptions, kind: Kind) -> PgConnectOptions {
    let options = options.clone().application_name(kind.application_name());
    // `timed` logs slow statements by name, without their text.
    if kind == Kind::Migration { options } else { options.disable_statement_logging() }
}
