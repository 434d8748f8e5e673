//! What the PostgreSQL server tells of itself, in views that take no locks of tables. Every figure that only rises is of one
//! server since its start: `server` tells which.

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::db::{Error, from_row, quoted, timed};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Of a session that this role may not look at, all but its process and its database is null.
const ACTIVITY: &str = sql!(
    ServerActivity,
    "WITH clients AS (
        SELECT state, datname IS NOT DISTINCT FROM current_database() AS is_here, wait_event_type = 'Lock' AS waits,
            xact_start, pid FROM pg_stat_activity
        WHERE backend_type = 'client backend' OR backend_type IS NULL AND datname IS NOT NULL)
    SELECT count(*) FILTER (WHERE state = 'active') AS active, count(*) FILTER (WHERE state = 'idle') AS idle,
        count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction, count(*) AS connections,
        current_setting('max_connections')::bigint AS most_connections,
        count(*) FILTER (WHERE is_here AND waits) AS waiting,
        least(min(xact_start) FILTER (WHERE is_here AND pid <> pg_backend_pid()),
            (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database())) AS oldest_transaction
    FROM clients"
);

const TOTALS: &str = sql!(
    ServerTotals,
    "SELECT pg_postmaster_start_time()::text AS server, d.xact_commit AS committed, d.xact_rollback AS rolled_back,
        d.deadlocks, d.temp_bytes AS temporary_bytes, d.blks_hit AS blocks_in_cache, d.blks_read AS blocks_from_disk,
        d.tup_inserted AS inserted, d.tup_updated AS updated, d.tup_deleted AS deleted,
        a.archived_count AS archived, a.failed_count AS failed_to_archive, a.last_archived_time AS last_archived
    FROM pg_stat_database d CROSS JOIN pg_stat_archiver a WHERE d.datname = current_database()"
);

/// A base backup is no standby, and neither is the connection on which it receives WAL: its slot is temporary. Logical subscribers
/// come and go with their tables. `pg_replication_slots` is visible to every role; of other roles' receivers only the process is.
const REPLICATION: &str = sql!(
    ServerStandbys,
    "WITH receivers AS (
        SELECT r.replay_lag FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
        WHERE r.state IS DISTINCT FROM 'backup' AND r.application_name IS DISTINCT FROM 'pg_basebackup'
          AND NOT coalesce(s.temporary OR s.slot_type = 'logical', false)),
    slots AS (
        SELECT active, wal_status = 'lost' AS lost, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS kept
        FROM pg_replication_slots)
    SELECT (SELECT count(*) FROM receivers) AS standbys,
        (SELECT extract(epoch FROM max(replay_lag))::float8 FROM receivers) AS lag,
        pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
        count(*) FILTER (WHERE active AND NOT coalesce(lost, false)) AS active_slots,
        count(*) FILTER (WHERE NOT active AND NOT coalesce(lost, false)) AS inactive_slots,
        count(*) FILTER (WHERE lost) AS lost_slots,
        coalesce(max(kept), 0)::bigint AS kept_by_slots,
        pg_size_bytes(current_setting('max_wal_size')) AS max_wal
    FROM slots"
);

const EXTENSION: &str = sql!(
    ServerStatements,
    "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_stat_statements'"
);

/// By name, since several texts bear the same.
const STATEMENTS: &str = sql!(
    ServerStatements,
    r"SELECT pg_postmaster_start_time()::text AS server, substring(s.query FROM '^/\* dgm:([a-z_]+) \*/') AS name,
        sum(s.calls)::bigint AS calls, (sum(s.total_exec_time) * 1000)::bigint AS microseconds,
        sum(s.rows)::bigint AS rows, sum(s.shared_blks_read)::bigint AS blocks_read
    FROM {}.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query LIKE '/* dgm:%' GROUP BY 2"
);

const SIZE: &str = sql!(ServerSize, "SELECT pg_database_size(current_database())");

const ROLE: &str =
    sql!(ServerActivity, "SELECT current_user::text, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')");

const CREATE_EXTENSION: &str = sql!(ServerStatements, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements");

/// Clients' sessions at one moment.
#[derive(Debug, Clone)]
pub struct Activity {
    /// Those that run a query.
    pub active: i64,
    /// Those that do nothing.
    pub idle: i64,
    /// Those that do nothing within a transaction, failed ones included.
    pub idle_in_transaction: i64,
    /// All, those whose state is hidden included.
    pub connections: i64,
    /// The most that the server takes.
    pub most_connections: i64,
    /// Those of this database that wait for a lock.
    pub waiting: i64,
    /// When the oldest transaction of this database began, our own left out.
    pub oldest_transaction: Option<DateTime<Utc>>,
}

from_row!(Activity { active, idle, idle_in_transaction, connections, most_connections, waiting, oldest_transaction });

/// What the server counted of this database.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the metrics say it")]
pub struct Totals {
    pub server: String,
    pub committed: i64,
    pub rolled_back: i64,
    pub deadlocks: i64,
    pub temporary_bytes: i64,
    pub blocks_in_cache: i64,
    pub blocks_from_disk: i64,
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
    pub archived: i64,
    pub failed_to_archive: i64,
    pub last_archived: Option<DateTime<Utc>>,
}

from_row!(Totals {
    server,
    committed,
    rolled_back,
    deadlocks,
    temporary_bytes,
    blocks_in_cache,
    blocks_from_disk,
    inserted,
    updated,
    deleted,
    archived,
    failed_to_archive,
    last_archived
});

/// What the server counted of one of our statements.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the metrics say it")]
pub struct StatementTotals {
    pub server: String,
    pub name: Option<String>,
    pub calls: i64,
    pub microseconds: i64,
    pub rows: i64,
    pub blocks_read: i64,
}

from_row!(StatementTotals { server, name, calls, microseconds, rows, blocks_read });

/// Who receives the write-ahead log, and what is kept for them.
#[derive(Debug, Clone)]
pub struct Replication {
    /// Standbys and other permanent receivers that are connected.
    pub standbys: i64,
    /// Seconds that the last of them is behind; `None`: nothing is to be replayed, or hidden.
    pub lag: Option<f64>,
    /// Whether this role sees the lag of standbys.
    pub sees_all: bool,
    /// Slots whose consumer is connected.
    pub active_slots: i64,
    /// Slots whose consumer is not.
    pub inactive_slots: i64,
    /// Slots that lack WAL that their consumer needs.
    pub lost_slots: i64,
    /// Most bytes of WAL that one slot keeps.
    pub kept_by_slots: i64,
    /// Bytes of WAL that the server means to keep between checkpoints.
    pub max_wal: i64,
}

from_row!(Replication { standbys, lag, sees_all, active_slots, inactive_slots, lost_slots, kept_by_slots, max_wal });

/// What this role may see.
#[derive(Debug, Clone)]
pub struct Visibility {
    /// Its name.
    pub role: String,
    /// Whether it sees what sessions of other roles do (`pg_monitor`).
    pub sees_all: bool,
    /// Whether there are statistics of statements.
    pub has_statements: bool,
}

/// A connection that asks one thing after another, so that a pool without a free one costs one wait.
#[derive(Debug)]
pub struct Server {
    connection: PoolConnection<Postgres>,
}

impl Server {
    pub(super) const fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection }
    }

    /// The sessions.
    ///
    /// # Errors
    /// The server's.
    pub async fn activity(&mut self) -> Result<Activity, Error> {
        timed(Statement::ServerActivity, sqlx::query_as(ACTIVITY).fetch_one(&mut *self.connection)).await
    }

    /// What it counted of this database.
    ///
    /// # Errors
    /// The server's.
    pub async fn totals(&mut self) -> Result<Totals, Error> {
        timed(Statement::ServerTotals, sqlx::query_as(TOTALS).fetch_one(&mut *self.connection)).await
    }

    /// Standbys and replication slots.
    ///
    /// # Errors
    /// The server's.
    pub async fn replication(&mut self) -> Result<Replication, Error> {
        timed(Statement::ServerStandbys, sqlx::query_as(REPLICATION).fetch_one(&mut *self.connection)).await
    }

    /// What it counted of our statements; `None` when it has no `pg_stat_statements`.
    ///
    /// # Errors
    /// The server's; [`Error::is_not_visible`] when the extension is there and was not loaded.
    pub async fn statements(&mut self) -> Result<Option<Vec<StatementTotals>>, Error> {
        let query = sqlx::query_scalar::<_, String>(EXTENSION).fetch_optional(&mut *self.connection);
        let Some(schema) = timed(Statement::ServerStatements, query).await? else { return Ok(None) };
        // The name in it is the catalogue's own, and quoted.
        let statement = sqlx::AssertSqlSafe(STATEMENTS.replace("{}", &quoted(&schema)));
        let query = sqlx::query_as(statement).fetch_all(&mut *self.connection);
        timed(Statement::ServerStatements, query).await.map(Some)
    }

    /// The size of this database in bytes. The server asks the system for the size of every file.
    ///
    /// # Errors
    /// The server's.
    pub async fn size(&mut self) -> Result<i64, Error> {
        timed(Statement::ServerSize, sqlx::query_scalar(SIZE).fetch_one(&mut *self.connection)).await
    }

    /// What this role may see.
    ///
    /// # Errors
    /// The server's.
    pub async fn visibility(&mut self) -> Result<Visibility, Error> {
        let query = sqlx::query_as(ROLE).fetch_one(&mut *self.connection);
        let (role, sees_all) = timed(Statement::ServerActivity, query).await?;
        let has_statements = match self.statements().await {
            Ok(statements) => statements.is_some(),
            Err(error) if error.is_not_visible() => false,
            Err(error) => return Err(error),
        };
        Ok(Visibility { role, sees_all, has_statements })
    }

    /// Makes the extension that keeps statistics of statements, unless it is there.
    ///
    /// # Errors
    /// The server's, when this role may not, or the server was installed without it.
    pub async fn keep_statements(&mut self) -> Result<(), Error> {
        let query = sqlx::query(CREATE_EXTENSION).execute(&mut *self.connection);
        timed(Statement::ServerStatements, query).await.map(drop)
    }
}
