//! The only place where a connection gets its host, its name and its session parameters.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::error::Error;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Statements of requests and jobs.
    Query,
    /// Statements whose values come in arrays.
    GroupCommit,
    /// LISTEN, and polls of the change feed.
    ChangeFeed,
    /// Detaching, reading and dropping partitions.
    Retention {
        /// How long one statement may run; zero: without limit.
        statement_timeout: Duration,
    },
    /// The migrator.
    Migration,
}

/// A server that connections are made to.
#[derive(Debug)]
pub struct Source {
    options: PgConnectOptions,
    statement_timeout: Duration,
}

impl Source {
    /// The server of a URL.
    ///
    /// # Errors
    /// When it is not a PostgreSQL URL.
    pub fn parse(url: &str, statement_timeout: Duration) -> Result<Self, sqlx::Error> {
        Ok(Self { options: url.parse()?, statement_timeout })
    }

    /// Name and session parameters of a connection.
    #[must_use]
    pub fn options(&self, kind: Kind) -> PgConnectOptions {
        match kind {
            Kind::Query => self.session("dgm"),
            // Such statements find their rows by keys. With stale statistics the planner would read a table that has grown
            // as a whole. One plan serves all executions: planning each took as long as running it.
            Kind::GroupCommit => {
                self.session("dgm").options([("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan")])
            }
            Kind::ChangeFeed => self.session("dgm-feed"),
            Kind::Retention { statement_timeout } => self.session("dgm-retention").options([
                ("client_connection_check_interval", "1s".to_owned()),
                ("statement_timeout", milliseconds(statement_timeout)),
                // None of its waits blocks readers or writers; waiting for old transactions counts as waiting for a lock.
                ("lock_timeout", "0".to_owned()),
            ]),
            Kind::Migration => self.options.clone().application_name("dgm migrate"),
        }
    }

    /// The database, its server and the role, for messages; never the password.
    #[must_use]
    pub fn describe(&self) -> String {
        let (options, port) = (&self.options, self.options.get_port());
        let server = options
            .get_socket()
            .map_or_else(|| format!("{}:{port}", options.get_host()), |folder| format!("{}:{port}", folder.display()));
        let role = options.get_username();
        // PostgreSQL's default.
        let database = options.get_database().unwrap_or(role);
        format!("database {database:?} on {server} as {role:?}")
    }

    /// A connection outside the pools.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn connect(&self, kind: Kind) -> Result<PgConnection, Error> {
        Ok(self.options(kind).connect().await?)
    }

    fn session(&self, name: &str) -> PgConnectOptions {
        let options = self.options.clone().application_name(name).options([
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("lock_timeout", "5s".to_owned()),
            ("idle_in_transaction_session_timeout", "30s".to_owned()),
            // Compiling takes a second where the plan takes a hundredth of that.
            ("jit", "off".to_owned()),
            // The statements of a process that was killed end soon after it.
            ("client_connection_check_interval", "5s".to_owned()),
            // With the default of 4, which suits a spinning disk, the planner walks a large index in order instead of
            // looking up a small part of another one.
            ("random_page_cost", "1.1".to_owned()),
        ]);
        // `timed` logs slow statements by name, without their text.
        options.disable_statement_logging()
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
