//! PostgreSQL, as this process sees it.

use super::LATENCY;
use super::labels::{Access, Conflict, ErrorClass, Pool, PoolState, Relation, Source, Table};
use super::statements::Statement;

super::metrics! {
    /// 1 while PostgreSQL answers, asked about every second, else 0.
    Gauge DB_UP<()> = "dgm_db_up", "1 or 0";
    /// Time of a statement, by its name in the catalogue of statements.
    Histogram DB_STATEMENT_DURATION<(Statement,)> = "dgm_db_statement_duration_seconds", "seconds", LATENCY;
    /// Statements that failed, by name.
    Counter DB_STATEMENT_ERRORS<(Statement,)> = "dgm_db_statement_errors_total", "statements";
    /// Errors of statements and of attempts to connect, by class. Errors that the service expects (a key that exists, a serialization
    /// failure that it retries) count, too.
    Counter DB_ERRORS<(ErrorClass,)> = "dgm_db_errors_total", "errors";
    /// Transactions that were run again because the server had rolled them back, by its reason.
    Counter DB_TRANSACTION_RETRIES<(Conflict,)> = "dgm_db_transaction_retries_total", "transactions";
    /// Time until PostgreSQL answers COMMIT of a transaction of a few bytes, measured every second: the flush of its write-ahead log,
    /// the answer of synchronous standbys, and the way there and back. One that hangs is counted every ten seconds.
    Histogram DB_FLUSH_DURATION<()> = "dgm_db_flush_duration_seconds", "seconds", LATENCY;
    /// Time to get a connection from a pool; it holds the wait for a free one and, for a new one, connecting.
    Histogram DB_POOL_ACQUIRE_DURATION<(Pool,)> = "dgm_db_pool_acquire_duration_seconds", "seconds", LATENCY;
    /// Times that no connection was to be had within the time allowed: all were in use, or a new one could not be opened.
    Counter DB_POOL_TIMEOUTS<(Pool,)> = "dgm_db_pool_timeouts_total", "timeouts";
    /// Connections of a pool, by state; absent for the replica's without one.
    Gauge POOL_CONNECTIONS<(Pool, PoolState)> = "dgm_db_pool_connections", "connections";
    /// Reads that may be behind (lists, lineages, statistics, ranges, trends), by where they went.
    Counter DB_READS<(Source,)> = "dgm_db_reads_total", "reads";
    /// How far the replica is behind, at most; absent without one.
    Gauge DB_REPLICA_LAG<()> = "dgm_db_replica_lag_seconds", "seconds";
    /// Partitions of a table, apart from imported months that are older than the window.
    Gauge PARTITIONS<(Table,)> = "dgm_partitions", "partitions";
    /// Unix time up to which a table has partitions.
    Gauge PARTITION_HORIZON<(Table,)> = "dgm_partition_horizon_timestamp_seconds", "seconds";
    /// Unix time from which on a table has partitions, apart from imported months that are older than the window.
    Gauge PARTITION_OLDEST<(Table,)> = "dgm_partition_oldest_timestamp_seconds", "seconds";
    /// Months ahead that partitions are to be made for (setting `samples.premake_months`).
    Gauge PARTITION_PREMAKE<(Table,)> = "dgm_partition_premake_months", "months";
    /// Months without a partition, of this one and the next.
    Gauge PARTITIONS_MISSING<(Table,)> = "dgm_partitions_missing", "partitions";
    /// Partitions of months that are no longer kept: retention is behind.
    Gauge PARTITIONS_EXPIRED<(Table,)> = "dgm_partitions_expired", "partitions";
    /// Tables that are detached, or about to be, and not dropped yet.
    Gauge PARTITIONS_DETACHED<(Table,)> = "dgm_partitions_detached", "partitions";
    /// Size of all partitions with their indexes.
    Gauge PARTITIONS_BYTES<(Table,)> = "dgm_partitions_bytes", "bytes";
    /// Partitions that retention dropped.
    Counter PARTITIONS_DROPPED<(Table,)> = "dgm_partitions_dropped_total", "partitions";
    /// Partitions that were exported before they were dropped.
    Counter PARTITIONS_EXPORTED<(Table,)> = "dgm_partitions_exported_total", "partitions";
    /// Bytes of exports that were written.
    Counter PARTITIONS_EXPORTED_BYTES<(Table,)> = "dgm_partitions_exported_bytes_total", "bytes";
    /// Times that a partition could not be exported or dropped; most often a long transaction looked at it.
    Counter PARTITION_DROP_FAILURES<(Table,)> = "dgm_partition_drop_failures_total", "failures";
    /// Size of a table with indexes and TOAST.
    Gauge TABLE_BYTES<(Relation,)> = "dgm_db_table_bytes", "bytes";
    /// Rows of a table, by the estimate of PostgreSQL's statistics.
    Gauge ROWS_LIVE<(Relation,)> = "dgm_db_rows_live", "rows";
    /// Rows of a table that wait for VACUUM, by the same.
    Gauge ROWS_DEAD<(Relation,)> = "dgm_db_rows_dead", "rows";
    /// Rows of a table that scans read, by how they came to them; the same at every replica, so take the max.
    Counter ROWS_READ<(Relation, Access)> = "dgm_db_rows_read_total", "rows";
    /// Indexes that no query may use: an interrupted build left them.
    Gauge INDEXES_INVALID<()> = "dgm_db_indexes_invalid", "indexes";
    /// Indexes that nothing has used on this server since the statistics count, and that keep nothing unique.
    Gauge INDEXES_UNUSED<()> = "dgm_db_indexes_unused", "indexes";
    /// Unix time since when PostgreSQL's statistics count; 0: since the database was made.
    Gauge STATISTICS_SINCE<()> = "dgm_db_statistics_since_timestamp_seconds", "seconds";
    /// Transactions since the oldest one that VACUUM has not frozen; writes stop short of 2^31.
    Gauge XID_AGE<()> = "dgm_db_xid_age", "transactions";
    /// Most connections that a pool opens; absent for the replica's without one.
    Gauge POOL_CONNECTIONS_MAX<(Pool,)> = "dgm_db_pool_connections_max", "connections";
}
