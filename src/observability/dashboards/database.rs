//! For whoever runs PostgreSQL: the pools, the statements, the server, the partitions.

use crate::observability::dashboard::{Bad, Beyond, Dashboard, Panel};
use crate::observability::objectives::{INDEX_USAGE, LATENCY_SECONDS};
use crate::observability::words::percent;
use crate::telemetry::catalogue::jobs::ReportedJob;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-database",
        title: "dgm / Database and partitions",
        description: "PostgreSQL as the service sees it, by its own words, and the monthly partitions of the samples.",
        rows: vec![
            ("Connections", connections()),
            ("Statements, as the service sees them", statements()),
            ("Statements, by pg_stat_statements", server_statements()),
            ("Server", server()),
            ("Backups", backups()),
            ("Tables and indexes", tables()),
            ("Partitions", partitions()),
        ],
        by_service: false,
    }
}

fn connections() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Pools",
            "none",
            "Connections of each pool, by state, and the most that there may be: read is the general one, write that of group commit, lock that of the locks of jobs.",
        )
        .ask("{{pool}} {{state}}", "sum by (pool, state) (dgm_db_pool_connections{$sel})")
        .ask("{{pool}} most", "sum by (pool) (dgm_db_pool_connections_max{$sel})"),
        Panel::lines(
            "Time to get a connection",
            "s",
            "Time within which half, and 99 %, of those who ask a pool have one: the wait for a free one and, for a new one, connecting.",
        )
        .ask("{{pool}} p50", waited("0.5"))
        .ask("{{pool}} p99", waited("0.99"))
        .bad(Bad::Above(0.1))
        .alerts(&["DgmPoolSaturated"]),
        Panel::lines(
            "No connection in time",
            "cps",
            "Times a second that a pool gave none within database.acquire_timeout_seconds, that of the replica within 250 ms.",
        )
        .ask("{{pool}} {{instance}}", "sum by (instance, pool) (rate(dgm_db_pool_timeouts_total{$sel}[$__rate_interval]))")
        .alerts(&["DgmPoolSaturated"]),
        Panel::stack(
            "Connections of the server",
            "none",
            "Connections of all clients, by state; the line is max_connections.",
        )
        .ask("{{state}}", "max by (state) (dgm_db_server_connections{$sel})")
        .alerts(&["DgmConnectionsHigh"]),
        Panel::figure("Most connections", "none", "max_connections of the server.")
            .ask("most", "max(dgm_db_server_connections_max{$sel})"),
        Panel::figure("PostgreSQL", "bool_yes_no", "Whether it answers every instance.")
            .ask("up", "min(dgm_db_up{$sel})")
            .bad(Bad::Below(1.0))
            .alerts(&["DgmPostgresDown"]),
        Panel::lines("Reads by source", "cps", "Reads that may be behind, by where they went.")
            .ask("{{source}}", "sum by (source) (rate(dgm_db_reads_total{$sel}[$__rate_interval]))"),
    ]
}

fn waited(quantile: &str) -> String {
    format!(
        "histogram_quantile({quantile}, sum by (pool, le) (rate(dgm_db_pool_acquire_duration_seconds_bucket{{$sel}}[$__rate_interval])))"
    )
}

fn flushed(quantile: &str) -> String {
    format!(
        "histogram_quantile({quantile}, sum by (le) (rate(dgm_db_flush_duration_seconds_bucket{{$sel}}[$__rate_interval])))"
    )
}

fn statements() -> Vec<Panel> {
    vec![
        Panel::lines("p95 by statement", "s", "Time within which 95 % of a statement's runs end.")
            .beyond(Beyond::SlowTraces)
            .ask(
                "{{statement}}",
                "histogram_quantile(0.95, sum by (statement, le) (rate(dgm_db_statement_duration_seconds_bucket{$sel}[$__rate_interval])))",
            )
            .bad(Bad::Above(LATENCY_SECONDS))
            .alerts(&["DgmQueryLatencyHigh"])
            .size(12, 9),
        Panel::stack("Time by statement", "none", "Seconds a second that each statement takes: what to make faster first.")
            .ask("{{statement}}", "sum by (statement) (rate(dgm_db_statement_duration_seconds_sum{$sel}[$__rate_interval])) > 0")
            .size(12, 9),
        Panel::table("Statements", "none", "Runs a second over five minutes.")
            .ask("", "sort_desc(sum by (statement) (rate(dgm_db_statement_duration_seconds_count{$sel}[5m])) > 0)"),
        Panel::lines("Errors by statement", "cps", "Runs a second that failed.")
            .ask("{{statement}}", "sum by (statement) (rate(dgm_db_statement_errors_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmStatementErrors"])
            .size(12, 8),
        Panel::lines("Retried transactions", "cps", "Transactions a second that were run again after a serialization failure or a deadlock.")
            .ask("{{reason}}", "sum by (reason) (rate(dgm_db_transaction_retries_total{$sel}[$__rate_interval]))")
            .size(12, 8),
    ]
}

fn server_statements() -> Vec<Panel> {
    vec![
        Panel::lines("Mean time in the server", "s", "Execution time of a run; what the service sees beyond it is the way there and waiting.")
            .ask(
                "{{statement}}",
                "max by (statement) (rate(dgm_db_server_statement_seconds_total{$sel}[$__rate_interval])) / max by (statement) (rate(dgm_db_server_statement_calls_total{$sel}[$__rate_interval]) > 0)",
            ),
        Panel::lines("Rows", "cps", "Rows a second that a statement gave or touched.")
            .ask("{{statement}}", "max by (statement) (rate(dgm_db_server_statement_rows_total{$sel}[$__rate_interval])) > 0"),
        Panel::lines("Blocks from disk", "cps", "Blocks of 8 KiB a second that were not in shared_buffers.")
            .ask("{{statement}}", "max by (statement) (rate(dgm_db_server_statement_blocks_read_total{$sel}[$__rate_interval]))"),
    ]
}

fn server() -> Vec<Panel> {
    vec![
        Panel::lines("Transactions", "cps", "Transactions a second of the database, by how they ended.")
            .ask("{{outcome}}", "max by (outcome) (rate(dgm_db_server_transactions_total{$sel}[$__rate_interval]))"),
        Panel::lines("Rows written", "cps", "Rows a second that were written, by how; those of transactions that were rolled back, too.")
            .ask("{{change}}", "max by (change) (rate(dgm_db_server_rows_written_total{$sel}[$__rate_interval]))"),
        Panel::lines("Blocks found in shared_buffers", "percentunit", "Share of blocks that needed no read.")
            .ask(
                "found",
                "max(rate(dgm_db_server_blocks_total{$sel, source=\"cache\"}[$__rate_interval])) / sum(max by (source) (rate(dgm_db_server_blocks_total{$sel}[$__rate_interval])))",
            ),
        Panel::lines("Waiting and deadlocks", "none", "Statements that wait for locks, and deadlocks within five minutes.")
            .ask("waiting", "max(dgm_db_locks_waiting{$sel})")
            .ask("deadlocks", "max(increase(dgm_db_server_deadlocks_total{$sel}[5m]))")
            .alerts(&["DgmLocksWaiting", "DgmDeadlocks"]),
        Panel::lines(
            "Flush of the write-ahead log",
            "s",
            "Time of COMMIT of a transaction of a few bytes, one each second: the disk of the log, and synchronous standbys.",
        )
        .ask("median", flushed("0.5"))
        .ask("p99", flushed("0.99"))
        .bad(Bad::Above(LATENCY_SECONDS))
        .alerts(&["DgmWalFlushSlow"]),
        Panel::lines("Oldest transaction", "s", "Age of the oldest open transaction; VACUUM and retention wait for it.")
            .ask("age", "time() - max(dgm_db_oldest_transaction_timestamp_seconds{$sel} > 0) or vector(0)")
            .bad(Bad::Above(300.0))
            .alerts(&["DgmLongTransaction"]),
        Panel::lines("Temporary files", "Bps", "Bytes a second of sorts and hashes that did not fit into work_mem.")
            .ask("written", "max(rate(dgm_db_server_temporary_bytes_total{$sel}[$__rate_interval]))"),
        Panel::lines("Standbys", "s", "How far standbys are behind, by the primary, and the replica of reads, by itself.")
            .ask("standbys", "max(dgm_db_standby_lag_seconds{$sel} >= 0)")
            .ask("replica of reads", "max(dgm_db_replica_lag_seconds{$sel})")
            .bad(Bad::Above(30.0))
            .alerts(&["DgmReplicationLag"]),
        Panel::lines("Standbys connected", "none", "Standbys that are connected to the primary, and how many there should be.")
            .ask("connected", "max(dgm_db_standbys{$sel})")
            .ask("expected", "max(dgm_db_standbys_expected{$sel})")
            .alerts(&["DgmStandbyMissing"]),
        Panel::lines("Replication slots", "none", "Replication slots by state. An inactive slot keeps WAL until the disk is full.")
            .ask("{{state}}", "max by (state) (dgm_db_replication_slots{$sel})")
            .alerts(&["DgmSlotInactive"]),
        Panel::lines("WAL kept for slots", "bytes", "Most write-ahead log that one slot keeps, and max_wal_size.")
            .ask("kept", "max(dgm_db_replication_slot_wal_bytes{$sel})")
            .ask("max_wal_size", "max(dgm_db_wal_max_bytes{$sel})")
            .alerts(&["DgmSlotWalHigh"]),
        Panel::lines("Errors by class", "cps", "Errors of statements and connection attempts a second, by class of SQLSTATE.")
            .ask("{{class}}", "sum by (class) (rate(dgm_db_errors_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmConnectionsRefused", "DgmPostgresFailing"]),
        Panel::figure("Sees all statistics", "bool_yes_no", "Whether the role of the service has pg_monitor.")
            .ask("visible", "max(dgm_db_statistics_visible{$sel})")
            .bad(Bad::Below(1.0))
            .alerts(&["DgmStatisticsHidden"]),
        Panel::lines("Transaction ids", "none", "Age of the oldest row that is not frozen; short of 2.1 billion PostgreSQL refuses writes.")
            .ask("age", "max(dgm_db_xid_age{$sel})")
            .bad(Bad::Above(5e8))
            .alerts(&["DgmXidAge"]),
    ]
}

fn backups() -> Vec<Panel> {
    vec![
        Panel::lines("WAL archive", "cps", "Segments a second that were archived, and attempts that failed.")
            .ask("{{outcome}}", "max by (outcome) (rate(dgm_db_wal_segments_archived_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmArchiverFailing"]),
        Panel::lines(
            "Since the last archived segment",
            "s",
            "What would be lost with the machine: at most this, and one segment more.",
        )
        .ask("age", "time() - max(dgm_db_wal_last_archived_timestamp_seconds{$sel} > 0)"),
        Panel::lines(
            "Since the last backup and drill",
            "s",
            "Time since each last succeeded, of what is reported (`dgm job report`).",
        )
        .ask(
            "{{job_name}}",
            format!(
                "time() - max by (job_name) (dgm_job_last_success_timestamp_seconds{{$sel, job_name=~\"{}\"}} > 0)",
                ReportedJob::any()
            ),
        )
        .alerts(&["DgmBackupStale", "DgmRestoreDrillStale"]),
    ]
}

fn tables() -> Vec<Panel> {
    vec![
        Panel::stack("Size by table", "bytes", "Size with indexes and TOAST.")
            .ask("{{table}}", "max by (table) (dgm_db_table_bytes{$sel})"),
        Panel::lines("Size of the database", "bytes", "All of it, measured every ten minutes.").ask("size", "max(dgm_db_size_bytes{$sel})"),
        Panel::lines("Rows by table", "none", "Rows, by the estimate of the statistics.")
            .ask("{{table}}", "max by (table) (dgm_db_rows_live{$sel})"),
        Panel::lines("Dead rows", "percentunit", "Share of rows that wait for VACUUM.")
            .ask("{{table}}", "max by (table) (dgm_db_rows_dead{$sel}) / (max by (table) (dgm_db_rows_live{$sel}) + max by (table) (dgm_db_rows_dead{$sel}) > 0)")
            .bad(Bad::Above(0.2))
            .alerts(&["DgmDeadTuples"]),
        Panel::lines("Rows found by an index", "percentunit", format!("Share of rows that were found by an index; of large tables {} should be.", percent(INDEX_USAGE)))
            .ask(
                "{{table}}",
                "max by (table) (rate(dgm_db_rows_read_total{$sel, access=\"index\"}[$__rate_interval])) / (sum by (table) (max by (table, access) (rate(dgm_db_rows_read_total{$sel}[$__rate_interval]))) > 0)",
            )
            .bad(Bad::Below(INDEX_USAGE))
            .alerts(&["DgmIndexUsageLow"]),
        Panel::figure("Indexes that are invalid", "none", "Indexes that an interrupted build left; no query uses them.")
            .ask("invalid", "max(dgm_db_indexes_invalid{$sel})")
            .bad(Bad::Above(1.0))
            .alerts(&["DgmIndexesInvalid"]),
        Panel::figure("Indexes without use", "none", "Indexes that nothing has used since the statistics count; `dgm doctor` names them.")
            .ask("unused", "max(dgm_db_indexes_unused{$sel})"),
        Panel::figure("Statistics since", "dateTimeFromNow", "Since when PostgreSQL's statistics count.")
            .ask("since", "max(dgm_db_statistics_since_timestamp_seconds{$sel}) * 1000"),
    ]
}

fn partitions() -> Vec<Panel> {
    vec![
        Panel::figure("Ahead", "s", "Time until samples would find no partition.")
            .ask("ahead", "min(dgm_partition_horizon_timestamp_seconds{$sel}) - time()")
            .bad(Bad::Below(5_184_000.0))
            .alerts(&["DgmPartitionHorizonLow"]),
        Panel::figure("Oldest", "dateTimeFromNow", "From when on samples are kept.")
            .ask("oldest", "min(dgm_partition_oldest_timestamp_seconds{$sel}) * 1000"),
        Panel::figure("Missing", "none", "Months that have no partition, though they should.")
            .ask("missing", "max(dgm_partitions_missing{$sel})")
            .bad(Bad::Above(1.0))
            .alerts(&["DgmPartitionMissing", "DgmSamplesRejected"]),
        Panel::figure("Expired", "none", "Partitions that retention should have dropped.")
            .ask("expired", "max(dgm_partitions_expired{$sel})")
            .bad(Bad::Above(1.0))
            .alerts(&["DgmRetentionBehind"]),
        Panel::figure("Detached", "none", "Partitions that are detached and not dropped.")
            .ask("detached", "max(dgm_partitions_detached{$sel})")
            .bad(Bad::Above(1.0))
            .alerts(&["DgmPartitionDetachedLeft"]),
        Panel::figure("Partitions", "none", "How many there are.").ask("partitions", "max(dgm_partitions{$sel})"),
        Panel::figure(
            "To be made ahead",
            "none",
            "Months of partitions that are to be there ahead (samples.premake_months).",
        )
        .ask("months", "max(dgm_partition_premake_months{$sel})"),
        Panel::lines("Size", "bytes", "Size of all partitions with their indexes.")
            .ask("{{table}}", "max by (table) (dgm_partitions_bytes{$sel})"),
        Panel::lines("Retention", "none", "Partitions exported and dropped, and what went wrong, within an hour.")
            .ask("exported", "sum(increase(dgm_partitions_exported_total{$sel}[1h]))")
            .ask("dropped", "sum(increase(dgm_partitions_dropped_total{$sel}[1h]))")
            .ask("failures", "sum(increase(dgm_partition_drop_failures_total{$sel}[1h]))"),
        Panel::lines("Exports", "Bps", "Bytes a second that exports write.")
            .ask("written", "sum(rate(dgm_partitions_exported_bytes_total{$sel}[$__rate_interval]))"),
    ]
}
