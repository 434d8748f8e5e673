//! What a server is, asked before anything relies on it: whether it can be used at all, and whether it accepts writes.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};

use super::error::Error;
use super::session::independent;

/// Longest wait for the answers of one server.
const TIMEOUT: Duration = Duration::from_secs(3);
const OLDEST_VERSION: i32 = 150_000;
/// Rounds in which two connections are compared.
const ROUNDS: usize = 3;

/// Names are qualified, since the search path may be anything, and no table is read, since the parameters of planning may be
/// anything: with JIT and a short `statement_timeout` even a read of the catalogue may fail. The last column is the schema in which the role's own search path
/// finds the service's tables.
const FACTS: &str = "/* dgm:probe */ SELECT pg_catalog.pg_backend_pid() AS backend, pg_catalog.pg_is_in_recovery() AS in_recovery,
    pg_catalog.current_setting('server_encoding') AS encoding, pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
    pg_catalog.current_database()::pg_catalog.text AS database, current_user::pg_catalog.text AS role,
    (pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass,
        pg_catalog.to_regclass('dgm_archive')::pg_catalog.oid, 0)).schema AS schema";
const BACKEND: &str = "/* dgm:probe */ SELECT pg_catalog.pg_backend_pid() AS backend";

/// What a server said.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) in_recovery: bool,
    encoding: String,
    version: i32,
    database: String,
    role: String,
    schema: Option<String>,
    is_transaction_pooler: bool,
}

/// Asks a server. The connections of the probe set nothing and lock nothing: behind a pooler in transaction mode that would stay
/// with a connection that other clients use.
pub(super) async fn ask(options: &PgConnectOptions) -> Result<Facts, sqlx::Error> {
    let late = |_| Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 3 s")));
    tokio::time::timeout(TIMEOUT, ask_now(options)).await.unwrap_or_else(late)
}

async fn ask_now(options: &PgConnectOptions) -> Result<Facts, sqlx::Error> {
    let mut first = options.connect().await?;
    let row = answer(&mut first, FACTS).await?;
    let is_transaction_pooler = is_transaction_pooler(options, &mut first, row.try_get("backend")?).await?;
    let _ = sqlx::Connection::close(first).await;
    Ok(Facts {
        in_recovery: row.try_get("in_recovery")?,
        encoding: row.try_get("encoding")?,
        version: row.try_get("version")?,
        database: row.try_get("database")?,
        role: row.try_get("role")?,
        schema: row.try_get::<Option<String>, _>("schema")?.map(|schema| unquoted(&schema)),
        is_transaction_pooler,
    })
}

/// The name of an identifier, which `quote_all_identifiers` quotes always.
fn unquoted(identifier: &str) -> String {
    let inner = identifier.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| identifier.to_owned(), |inner| inner.replace("\"\"", "\""))
}

/// Two open sessions have two backends, and each keeps its own. A pooler in transaction mode gives each transaction the backend
/// that was free last, or the next one in turn: then two sessions share one, or one changes. A session asks twice in a row in
/// each order, so that alternating backends are found, too.
async fn is_transaction_pooler(
    options: &PgConnectOptions,
    first: &mut PgConnection,
    of_first: i32,
) -> Result<bool, sqlx::Error> {
    let mut second = match options.connect().await {
        Ok(second) => second,
        // `too_many_connections`: the role may have one only. The first one is watched alone.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "53300") => {
            return Ok(backend(first).await? != of_first);
        }
        Err(error) => return Err(error),
    };
    let of_second = backend(&mut second).await?;
    let mut moved = of_first == of_second;
    for _ in 0..ROUNDS {
        moved = moved
            || backend(&mut second).await? != of_second
            || backend(first).await? != of_first
            || backend(first).await? != of_first
            || backend(&mut second).await? != of_second;
    }
    let _ = sqlx::Connection::close(second).await;
    Ok(moved)
}

async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    answer(connection, BACKEND).await?.try_get("backend")
}

async fn answer(connection: &mut PgConnection, statement: &'static str) -> Result<PgRow, sqlx::Error> {
    match sqlx::raw_sql(statement).fetch_one(&mut *connection).await {
        // `feature_not_supported`: a standby, where the role's transactions are serializable.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "0A000") => {
            sqlx::raw_sql(AssertSqlSafe(independent(statement))).fetch_one(connection).await
        }
        outcome => outcome,
    }
}

impl Facts {
    /// Refuses a server that the service cannot work with.
    pub(super) fn check(&self, server: &str, search_path_is_given: bool) -> Result<(), Error> {
        let Self { encoding, version, database, role, .. } = self;
        if self.is_transaction_pooler {
            return Err(Error::Unsuitable(format!(
                "{server} is a connection pooler in transaction mode: connect to its session mode or to PostgreSQL itself, since dgm \
                 needs sessions (advisory locks, LISTEN, session parameters)"
            )));
        }
        if *version < OLDEST_VERSION {
            return Err(Error::Unsuitable(format!(
                "{server} is PostgreSQL {}; dgm needs 15 or newer",
                version / 10_000
            )));
        }
        if encoding != "UTF8" {
            return Err(Error::Unsuitable(format!(
                "the database {database} at {server} has the encoding {encoding}; create one with ENCODING 'UTF8' TEMPLATE template0"
            )));
        }
        match &self.schema {
            Some(schema) if !search_path_is_given && schema != "public" && schema != role => {
                Err(Error::Unsuitable(format!(
                    "the tables in {database} at {server} are in the schema {schema}, which only the search_path of the role or the \
                     database names: add options=-csearch_path%3D{schema} to the URL"
                )))
            }
            _ => Ok(()),
        }
    }
}
