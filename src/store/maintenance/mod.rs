//! Statistics of PostgreSQL's own maintenance, the schema version and the clock.

mod server;

use chrono::{DateTime, Utc};
pub use server::{Activity, Replication, Server, StatementTotals, Totals, Visibility};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use super::migrate::{HISTORY_ROWS, Schema};
use crate::db::{Database, Error, from_row, timed};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// A partition counts for its parent.
const TABLES: &str = sql!(Upkeep, "
    SELECT coalesce(p.relname, c.relname)::text AS name, sum(s.n_live_tup)::bigint AS live, sum(s.n_dead_tup)::bigint AS dead,
        sum(s.seq_tup_read)::bigint AS read_in_sequence, sum(coalesce(s.idx_tup_fetch, 0))::bigint AS read_by_index,
        coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes
    FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' GROUP BY 1");
const INDEXES: &str = sql!(Upkeep, "
    SELECT coalesce(p.relname, c.relname)::text AS name, bool_and(i.indisvalid) AS valid, bool_or(i.indisunique) AS is_unique,
        coalesce(sum(s.idx_scan), 0)::bigint AS scans
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = c.oid
    LEFT JOIN pg_inherits h ON h.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = h.inhparent
    WHERE c.relnamespace = current_schema()::regnamespace AND t.relname !~ '^(_sqlx|dgm_migration)' GROUP BY 1 ORDER BY 1");
const DATABASE: &str = sql!(
    Upkeep,
    "
    SELECT age(d.datfrozenxid) AS xid_age, s.stats_reset AS since, pg_postmaster_start_time()::text AS server
    FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid WHERE d.datname = current_database()"
);

/// A table; all of its partitions together.
#[derive(Debug, Clone)]
pub struct TableStatistics {
    /// Its name.
    pub name: String,
    /// Rows, by the statistics' estimate.
    pub live: i64,
    /// Rows that wait for VACUUM, by the same.
    pub dead: i64,
    /// Rows read by sequential scans, since [`Maintenance::since`].
    pub read_in_sequence: i64,
    /// Rows fetched by index scans.
    pub read_by_index: i64,
    /// Size with indexes and TOAST.
    pub bytes: i64,
}

from_row!(TableStatistics { name, live, dead, read_in_sequence, read_by_index, bytes });

/// An index; those of all partitions together.
#[derive(Debug, Clone)]
pub struct IndexStatistics {
    /// Its name.
    pub name: String,
    /// Whether queries may use it.
    pub valid: bool,
    /// Whether it keeps something unique, which is use enough.
    pub is_unique: bool,
    /// Scans of it on this server (a replica counts its own), since [`Maintenance::since`].
    pub scans: i64,
}

from_row!(IndexStatistics { name, valid, is_unique, scans });

/// Statistics of tables and indexes.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// Every table.
    pub tables: Vec<TableStatistics>,
    /// Every index.
    pub indexes: Vec<IndexStatistics>,
    /// Transactions since the oldest that VACUUM has not frozen. PostgreSQL refuses writes short of 2^31 (manual, 25.1.5).
    pub xid_age: i32,
    /// Since when the statistics count; `None`: since the database was made.
    pub since: Option<DateTime<Utc>>,
    /// Whose statistics these are: a server since its start.
    pub server: String,
}

/// PostgreSQL's statistics, the schema version and the clock; cheap to clone.
#[derive(Debug, Clone)]
pub struct MaintenanceStore {
    database: Database,
}

impl MaintenanceStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// See [`Database::check`].
    ///
    /// # Errors
    /// [`Error::Unsuitable`], [`Error::Unavailable`].
    pub async fn check(&self) -> Result<(), Error> {
        self.database.check().await
    }

    /// The schema; an empty one when the database was never migrated.
    ///
    /// # Errors
    /// The server's, when it cannot be reached.
    pub async fn schema(&self) -> Result<Schema, Error> {
        let read = |mut connection: PoolConnection<Postgres>| async move {
            timed(Statement::SchemaVersion, sqlx::query_as(HISTORY_ROWS).fetch_all(&mut *connection)).await
        };
        match self.database.general.read(read).await {
            Ok(rows) => Ok(Schema::new(rows)),
            Err(error) if error.is_about_schema() => Ok(Schema::new(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// A connection for questions about the server itself.
    ///
    /// # Errors
    /// The server's.
    pub async fn server(&self) -> Result<Server, Error> {
        Ok(Server::new(self.database.general.acquire().await?))
    }

    /// Publishes the gauges of every connection pool.
    pub fn publish_pools(&self) {
        self.database.publish_pools();
    }

    /// See [`Database::watch_flushes`].
    pub async fn watch_flushes(&self) {
        self.database.watch_flushes().await;
    }

    /// Measures the replica's lag for as long as it is polled.
    pub async fn watch_replica(&self) {
        self.database.watch_replica().await;
    }

    /// Reads the statistics.
    ///
    /// # Errors
    /// The server's.
    pub async fn statistics(&self) -> Result<Maintenance, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let tables = timed(Statement::Upkeep, sqlx::query_as(TABLES).fetch_all(&mut *connection)).await?;
                let indexes = timed(Statement::Upkeep, sqlx::query_as(INDEXES).fetch_all(&mut *connection)).await?;
                let database = timed(Statement::Upkeep, sqlx::query_as(DATABASE).fetch_one(&mut *connection)).await?;
                let (xid_age, since, server): (i32, Option<DateTime<Utc>>, String) = database;
                Ok(Maintenance { tables, indexes, xid_age, since, server })
            })
            .await
    }
}

impl Maintenance {
    /// The indexes that nothing has used, and that keep nothing unique.
    pub fn unused(&self) -> impl Iterator<Item = &IndexStatistics> {
        self.indexes.iter().filter(|index| index.scans == 0 && !index.is_unique)
    }
}
