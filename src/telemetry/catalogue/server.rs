//! What the PostgreSQL server tells of itself. Every process reads the same, so what is added up over replicas is counted
//! as often as there are replicas: take the max.

use super::labels::label;
use super::statements::Statement;

label! {
    /// What a client's session does.
    SessionState "state" { Active "active", Idle "idle", IdleInTransaction "idle_in_transaction", Other "other", }
}
label! {
    /// How a transaction ended.
    TransactionOutcome "outcome" { Committed "committed", RolledBack "rolled_back", }
}
label! {
    /// What was done to a row.
    RowChange "change" { Inserted "inserted", Updated "updated", Deleted "deleted", }
}
label! {
    /// Where a block was found.
    BlockSource "source" { Cache "cache", Disk "disk", }
}
label! {
    /// What became of a segment of the write-ahead log that was to be archived.
    ArchiveOutcome "outcome" { Archived "archived", Failed "failed", }
}

super::metrics! {
    /// Sessions of clients, in all databases of the server, by what they do; without `pg_monitor` those of other roles are in other.
    Gauge DB_SERVER_CONNECTIONS<(SessionState,)> = "dgm_db_server_connections", "connections";
    /// Most sessions that the server takes (`max_connections`).
    Gauge DB_SERVER_CONNECTIONS_MAX<()> = "dgm_db_server_connections_max", "connections";
    /// Sessions of this database that wait for a lock; without `pg_monitor` only those of this role.
    Gauge DB_LOCKS_WAITING<()> = "dgm_db_locks_waiting", "sessions";
    /// Unix time at which the oldest open transaction of this database began, prepared ones included; 0 when there is none. Without
    /// `pg_monitor` only those of this role and prepared ones.
    Gauge DB_OLDEST_TRANSACTION<()> = "dgm_db_oldest_transaction_timestamp_seconds", "seconds";
    /// Transactions of this database that ended, by how; the same at every replica, so take the max.
    Counter DB_SERVER_TRANSACTIONS<(TransactionOutcome,)> = "dgm_db_server_transactions_total", "transactions";
    /// Rows of this database that were written, by how, also by transactions that were rolled back; the same at every replica,
    /// so take the max.
    Counter DB_SERVER_ROWS<(RowChange,)> = "dgm_db_server_rows_written_total", "rows";
    /// Deadlocks in this database; the same at every replica, so take the max.
    Counter DB_SERVER_DEADLOCKS<()> = "dgm_db_server_deadlocks_total", "deadlocks";
    /// Bytes that queries of this database wrote to temporary files; the same at every replica, so take the max.
    Counter DB_SERVER_TEMPORARY_BYTES<()> = "dgm_db_server_temporary_bytes_total", "bytes";
    /// Blocks that were read in this database, by where they were found; disk may be the system's own cache. The same at every
    /// replica, so take the max.
    Counter DB_SERVER_BLOCKS<(BlockSource,)> = "dgm_db_server_blocks_total", "blocks";
    /// Size of this database, measured every ten minutes, since it asks for the size of every file.
    Gauge DB_SIZE<()> = "dgm_db_size_bytes", "bytes";
    /// Standbys and other receivers of the write-ahead log that are connected.
    Gauge DB_STANDBYS<()> = "dgm_db_standbys", "standbys";
    /// How far the last of the standbys is behind in replaying; 0 without standbys, when they have replayed all, and without
    /// `pg_monitor`.
    Gauge DB_STANDBY_LAG<()> = "dgm_db_standby_lag_seconds", "seconds";
    /// Segments of the write-ahead log that `archive_command` took, or failed at; the same at every replica, so take the max.
    Counter DB_WAL_SEGMENTS_ARCHIVED<(ArchiveOutcome,)> = "dgm_db_wal_segments_archived_total", "segments";
    /// Unix time at which a segment of the write-ahead log was last archived; 0 when none was since the server's statistics began.
    Gauge DB_WAL_LAST_ARCHIVED<()> = "dgm_db_wal_last_archived_timestamp_seconds", "seconds";
    /// Runs of a statement, of whoever ran it, by `pg_stat_statements`; 0 without it. The same at every replica, so take the max.
    Counter DB_SERVER_STATEMENT_CALLS<(Statement,)> = "dgm_db_server_statement_calls_total", "calls";
    /// Time that the server spent executing a statement (neither planning it nor sending the answer), likewise.
    Seconds DB_SERVER_STATEMENT_SECONDS<(Statement,)> = "dgm_db_server_statement_seconds_total", "seconds";
    /// Rows that a statement answered or changed, likewise.
    Counter DB_SERVER_STATEMENT_ROWS<(Statement,)> = "dgm_db_server_statement_rows_total", "rows";
    /// Blocks that a statement needed and that were not in the server's shared memory, likewise.
    Counter DB_SERVER_STATEMENT_BLOCKS_READ<(Statement,)> = "dgm_db_server_statement_blocks_read_total", "blocks";
}
