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

label! {
    /// A replication slot's state; lost: the server has removed WAL that its consumer needs.
    SlotState "state" { Active "active", Inactive "inactive", Lost "lost", }
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
    /// 1 while the role of this process may see all statistics (`pg_monitor`), else 0: sessions of other roles, locks, long
    /// transactions and the lag of standbys are not known then.
    Gauge DB_STATISTICS_VISIBLE<()> = "dgm_db_statistics_visible", "1 or 0";
    /// Standbys and other permanent receivers of the write-ahead log that are connected; base backups and logical subscribers do not
    /// count.
    Gauge DB_STANDBYS<()> = "dgm_db_standbys", "standbys";
    /// Standbys that there should be: the setting `database.standbys`, or, while that is 0, the most that were connected at the same time
    /// since this process started.
    Gauge DB_STANDBYS_EXPECTED<()> = "dgm_db_standbys_expected", "standbys";
    /// Replication slots, by state.
    Gauge DB_SLOTS<(SlotState,)> = "dgm_db_replication_slots", "slots";
    /// Most write-ahead log that one replication slot keeps from being removed; 0 without slots.
    Gauge DB_SLOT_WAL<()> = "dgm_db_replication_slot_wal_bytes", "bytes";
    /// Write-ahead log that the server means to keep between two checkpoints (`max_wal_size`).
    Gauge DB_WAL_MAX<()> = "dgm_db_wal_max_bytes", "bytes";
    /// How far the last of the standbys is behind in replaying; 0 when they have replayed all. NaN, which is not known, while none is
    /// connected, fewer are than there should be, or the role lacks `pg_monitor`.
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
