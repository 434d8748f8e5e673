//! PostgreSQL, as this process sees it.

use super::LATENCY;
use super::labels::{PoolState, Source, Table};
use super::statements::Statement;

super::metrics! {
    /// Time of a statement, by its name in the catalogue of statements.
    Histogram DB_STATEMENT_DURATION<(Statement,)> = "dgm_db_statement_duration_seconds", "seconds", LATENCY;
    /// Statements that failed, by name.
    Counter DB_STATEMENT_ERRORS<(Statement,)> = "dgm_db_statement_errors_total", "statements";
    /// Time to get a connection from the pool; it holds the wait for a free one and, for a new one, connecting.
    Histogram DB_POOL_ACQUIRE_DURATION<()> = "dgm_db_pool_acquire_duration_seconds", "seconds", LATENCY;
    /// Connections of the pool, by state.
    Gauge POOL_CONNECTIONS<(PoolState,)> = "dgm_db_pool_connections", "connections";
    /// Reads that may be behind (lists, lineages, statistics, ranges, trends), by where they went.
    Counter DB_READS<(Source,)> = "dgm_db_reads_total", "reads";
    /// How far the replica is behind, at most; absent without one.
    Gauge DB_REPLICA_LAG<()> = "dgm_db_replica_lag_seconds", "seconds";
    /// Partitions of a table.
    Gauge PARTITIONS<(Table,)> = "dgm_partitions", "partitions";
    /// Unix time up to which a table has partitions.
    Gauge PARTITION_HORIZON<(Table,)> = "dgm_partition_horizon_timestamp_seconds", "seconds";
    /// Unix time from which on a table has partitions.
    Gauge PARTITION_OLDEST<(Table,)> = "dgm_partition_oldest_timestamp_seconds", "seconds";
    /// Months between the oldest partition and the newest, and up to those to be made ahead, that have none.
    Gauge PARTITIONS_MISSING<(Table,)> = "dgm_partitions_missing", "partitions";
    /// Partitions of months that are no longer kept: retention is behind.
    Gauge PARTITIONS_EXPIRED<(Table,)> = "dgm_partitions_expired", "partitions";
    /// Tables that are detached, or about to be, and not dropped yet.
    Gauge PARTITIONS_DETACHED<(Table,)> = "dgm_partitions_detached", "partitions";
    /// Size of all partitions with their indexes.
    Gauge PARTITIONS_BYTES<(Table,)> = "dgm_partitions_bytes", "bytes";
    /// Partitions that retention dropped.
    Counter PARTITIONS_DROPPED<(Table,)> = "dgm_partitions_dropped_total", "partitions";
    /// Times that a partition could not be dropped; most often a long transaction looked at it.
    Counter PARTITION_DROP_FAILURES<(Table,)> = "dgm_partition_drop_failures_total", "failures";
    /// Most connections that the pool opens.
    Gauge POOL_CONNECTIONS_MAX<()> = "dgm_db_pool_connections_max", "connections";
}
