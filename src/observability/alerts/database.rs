//! PostgreSQL, as the service sees it and by its own words.

use crate::observability::objectives::{INDEX_USAGE, INDEX_USAGE_ROWS, LATENCY_SECONDS};
use crate::observability::rule::{Alert, LINGERS_AFTER_EVENTS, LINGERS_OF_CAUSES, Severity, Team};
use crate::observability::words::milliseconds;
use Severity::{Critical, Warning};

const DATABASE: &str = "dgm-database";

fn alert(name: &'static str, severity: Severity) -> Alert {
    Alert::new(name, severity, Team::Database, DATABASE)
}

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = seen();
    alerts.extend(told());
    alerts.extend(xid());
    alerts
}

/// What the service sees.
fn seen() -> Vec<Alert> {
    vec![
        alert("DgmPostgresDown", Critical)
            .when("1m", "max by (job) (dgm_db_up) == 0")
            .labels("scope", "all")
            .lingers(LINGERS_OF_CAUSES)
            .says(
                "PostgreSQL answers no instance.",
                "All instances have asked for a minute in vain. Nothing can be written, and entries are not read from the cache either.",
            )
            .fires("5m", &[("dgm_db_up{job=\"dgm\", instance=\"a\"}", "1 0x20"), ("dgm_db_up{job=\"dgm\", instance=\"b\"}", "1 0x20")])
            .silent("5m", &[("dgm_db_up{job=\"dgm\", instance=\"a\"}", "1 1 1 1 1 0 1x20")]),
        alert("DgmPostgresDown", Critical)
            .when("1m", "dgm_db_up == 0 unless on (job) max by (job) (dgm_db_up) == 0")
            .labels("scope", "instance")
            .says(
                "PostgreSQL does not answer {{ $labels.instance }}.",
                "Others are answered: look at the way from this instance to the database. It is not ready and gets no traffic.",
            )
            .fires("5m", &[("dgm_db_up{job=\"dgm\", instance=\"a\"}", "0x20"), ("dgm_db_up{job=\"dgm\", instance=\"b\"}", "1x20")])
            .silent("5m", &[("dgm_db_up{job=\"dgm\", instance=\"a\"}", "0x20"), ("dgm_db_up{job=\"dgm\", instance=\"b\"}", "0x20")]),
        alert("DgmPoolSaturated", Warning)
            .when(
                "5m",
                "histogram_quantile(0.99, sum by (job, instance, pool, le) (rate(dgm_db_pool_acquire_duration_seconds_bucket[5m]))) > 0.1\n\
                 and sum by (job, instance, pool) (increase(dgm_db_pool_acquire_duration_seconds_count[5m]))\n\
                 - sum by (job, instance, pool) (increase(dgm_db_pool_acquire_duration_seconds_bucket{le=\"0.1\"}[5m])) > 3",
            )
            .says(
                "{{ $labels.instance }} waits for connections of the pool {{ $labels.pool }}.",
                "One in a hundred waits {{ $value | humanizeDuration }}.",
            )
            .fires("15m", &waits("write", "0+50x20", "0+60x20"))
            // A replica of reads that is away: nobody gets a connection to it.
            .fires("15m", &waits("replica", "0x20", "0+120x20"))
            .silent("15m", &waits("write", "0+60x20", "0+60x20"))
            // A pool that is hardly asked, and opens a connection now and then.
            .silent("15m", &waits("lock", "0+1x20", "0 1 3 4 6 7 9 10 12 13 15 16 18 19 21 22 24 25 27 28 30")),
        alert("DgmPoolSaturated", Critical)
            // Without a connection to the replica nothing fails.
            .when("2m", "sum by (job, instance, pool) (rate(dgm_db_pool_timeouts_total{pool!=\"replica\"}[2m])) > 0")
            .says(
                "{{ $labels.instance }} has no connection of the pool {{ $labels.pool }} to give.",
                "{{ $value | humanize }} times a second none became free in time. For want of read or write requests are answered 503, for want of lock jobs do not start.",
            )
            .fires("10m", &[(timeouts("read"), "0+6x20")])
            .silent("10m", &[(timeouts("read"), "0 6x20")])
            .silent("10m", &[(timeouts("replica"), "0+120x20")]),
        Alert::new("DgmWritesRefused", Warning, Team::Service, DATABASE)
            .when("2m", "sum by (job, writer) (rate(dgm_writer_refused_total[5m])) > 0")
            .says(
                "Too many writes of {{ $labels.writer }} wait; more are refused.",
                "{{ $value | humanize }} a second are answered 503 with the problem `busy`.",
            )
            .fires("10m", &[("dgm_writer_refused_total{job=\"dgm\", instance=\"a\", writer=\"samples\"}", "0+60x20")])
            .silent("10m", &[("dgm_writer_refused_total{job=\"dgm\", instance=\"a\", writer=\"samples\"}", "7x20")]),
        alert("DgmQueryLatencyHigh", Warning)
            .when(
                "10m",
                format!(
                    "histogram_quantile(0.95, sum by (job, statement, le) (rate(dgm_db_statement_duration_seconds_bucket[5m]))) > {LATENCY_SECONDS}\n\
                     and sum by (job, statement) (rate(dgm_db_statement_duration_seconds_count[5m])) > 0.2"
                ),
            )
            .says(
                "{{ $labels.statement }} is slow.",
                &format!(
                    "One run in twenty takes {{{{ $value | humanizeDuration }}}}; {} is what all of a request may take.",
                    milliseconds(LATENCY_SECONDS)
                ),
            )
            .fires("20m", &statement("0+30x30", "0+60x30", "0+60x30"))
            // A slow one that hardly ever runs.
            .silent("20m", &statement("0+3x30", "0+6x30", "0+6x30"))
            .silent("20m", &statement("0+60x30", "0+60x30", "0+60x30")),
        flush_slow(),
        alert("DgmStatementErrors", Warning)
            .when(
                "5m",
                "sum by (job, statement) (rate(dgm_db_statement_errors_total{statement!~\"server_activity|server_statements\"}[5m]))\n\
                 / sum by (job, statement) (rate(dgm_db_statement_duration_seconds_count[5m]) > 0) > 0.01\n\
                 and sum by (job, statement) (increase(dgm_db_statement_errors_total[5m])) > 3",
            )
            .says(
                "{{ $labels.statement }} fails.",
                "{{ $value | humanizePercentage }} of its runs end in an error.",
            )
            .fires("15m", &errors("0+6x20"))
            .silent("15m", &errors("0x20"))
            // One that failed once.
            .silent("15m", &errors("0 0 0 0 0 0 0 0 0 0 1x20")),
    ]
}

fn flush_slow() -> Alert {
    alert("DgmWalFlushSlow", Warning)
        .when(
            "5m",
            format!(
                "histogram_quantile(0.99, sum by (job, le) (rate(dgm_db_flush_duration_seconds_bucket[15m]))) > {LATENCY_SECONDS}\n\
                 and sum by (job) (increase(dgm_db_flush_duration_seconds_count[15m]))\n\
                 - sum by (job) (increase(dgm_db_flush_duration_seconds_bucket{{le=\"{LATENCY_SECONDS}\"}}[15m])) > 3"
            ),
        )
        .says(
            "PostgreSQL is slow to make commits durable.",
            &format!(
                "Of transactions of a few bytes, one each second, one commit in a hundred takes {{{{ $value | humanizeDuration }}}}; {} is \
                 what all of a request may take. The disk of the write-ahead log, or a synchronous standby.",
                milliseconds(LATENCY_SECONDS)
            ),
        )
        // One commit in fifteen waits for a pause of the disk.
        .fires("40m", &flushes("0+56x50", "0+60x50"))
        .silent("40m", &flushes("0+60x50", "0+60x50"))
        // A single pause.
        .silent("40m", &flushes("0+60x10 658+60x40", "0+60x10 660+60x40"))
}

fn waits(pool: &str, within: &'static str, all: &'static str) -> [(String, &'static str); 4] {
    let series = |part: &str, edge: &str| {
        format!("dgm_db_pool_acquire_duration_seconds_{part}{{job=\"dgm\", instance=\"a\", pool=\"{pool}\"{edge}}}")
    };
    [
        (series("bucket", ", le=\"0.1\""), within),
        (series("bucket", ", le=\"0.5\""), all),
        (series("bucket", ", le=\"+Inf\""), all),
        (series("count", ""), all),
    ]
}

fn timeouts(pool: &str) -> String {
    format!("dgm_db_pool_timeouts_total{{job=\"dgm\", instance=\"a\", pool=\"{pool}\"}}")
}

fn statement(fast: &'static str, slow: &'static str, all: &'static str) -> [(&'static str, &'static str); 4] {
    [
        (
            "dgm_db_statement_duration_seconds_bucket{job=\"dgm\", instance=\"a\", statement=\"archive_list\", le=\"0.1\"}",
            fast,
        ),
        (
            "dgm_db_statement_duration_seconds_bucket{job=\"dgm\", instance=\"a\", statement=\"archive_list\", le=\"0.25\"}",
            slow,
        ),
        (
            "dgm_db_statement_duration_seconds_bucket{job=\"dgm\", instance=\"a\", statement=\"archive_list\", le=\"+Inf\"}",
            all,
        ),
        ("dgm_db_statement_duration_seconds_count{job=\"dgm\", instance=\"a\", statement=\"archive_list\"}", all),
    ]
}

fn flushes(fast: &'static str, all: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("dgm_db_flush_duration_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.1\"}", fast),
        ("dgm_db_flush_duration_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.5\"}", all),
        ("dgm_db_flush_duration_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"+Inf\"}", all),
        ("dgm_db_flush_duration_seconds_count{job=\"dgm\", instance=\"a\"}", all),
    ]
}

fn errors(failed: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_db_statement_errors_total{job=\"dgm\", instance=\"a\", statement=\"archive_list\"}", failed),
        ("dgm_db_statement_duration_seconds_count{job=\"dgm\", instance=\"a\", statement=\"archive_list\"}", "0+60x20"),
    ]
}

fn reads(index: &'static str, sequence: &'static str, live: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("dgm_db_rows_read_total{job=\"dgm\", instance=\"a\", table=\"dgm_archive\", access=\"index\"}", index),
        ("dgm_db_rows_read_total{job=\"dgm\", instance=\"a\", table=\"dgm_archive\", access=\"sequence\"}", sequence),
        ("dgm_db_rows_live{job=\"dgm\", instance=\"a\", table=\"dgm_archive\"}", live),
    ]
}

/// What the server tells. Every replica of the service asks the same server, hence the largest of their figures.
fn told() -> Vec<Alert> {
    vec![
        alert("DgmIndexUsageLow", Warning)
            .when(
                "30m",
                format!(
                    "sum by (job) (max by (job, table) (rate(dgm_db_rows_read_total{{access=\"index\"}}[30m])) and max by (job, table) (dgm_db_rows_live) > {INDEX_USAGE_ROWS})\n\
                     / sum by (job) (sum by (job, table) (max by (job, table, access) (rate(dgm_db_rows_read_total[30m]))) and max by (job, table) (dgm_db_rows_live) > {INDEX_USAGE_ROWS}) < {INDEX_USAGE}\n\
                     and sum by (job) (max by (job, table, access) (rate(dgm_db_rows_read_total[30m]))) > 100"
                ),
            )
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "Large tables are read without an index.",
                "Only {{ $value | humanizePercentage }} of the rows that are read of large tables are found by an index.",
            )
            .fires("2h", &reads("0+60000x130", "0+60000x130", "50000x130"))
            .silent("2h", &reads("0+60000x130", "0+600x130", "50000x130"))
            // Small tables are read whole, and rightly.
            .silent("2h", &reads("0+60000x130", "0+60000x130", "500x130")),
        alert("DgmDeadTuples", Warning)
            .when(
                "1h",
                "max by (job, table) (dgm_db_rows_dead) > 10000\n\
                 and max by (job, table) (dgm_db_rows_dead / (dgm_db_rows_live + dgm_db_rows_dead)) > 0.2",
            )
            .says("VACUUM is behind on {{ $labels.table }}.", "{{ $value | humanize }} dead rows wait for it.")
            .fires("90m", &dead("50000x100"))
            .silent("90m", &dead("15000x100")),
        alert("DgmLongTransaction", Warning)
            .when(
                "2m",
                "time() - max by (job) (dgm_db_oldest_transaction_timestamp_seconds > 0) > $(5m)",
            )
            .says(
                "A transaction has been open for long.",
                "It began {{ $value | humanizeDuration }} ago; VACUUM and retention wait for it.",
            )
            // promtool's clock begins at 0.
            .fires("20m", &[("dgm_db_oldest_transaction_timestamp_seconds{job=\"dgm\", instance=\"a\"}", "60x30")])
            .silent("20m", &[("dgm_db_oldest_transaction_timestamp_seconds{job=\"dgm\", instance=\"a\"}", "0x30")])
            .silent("20m", &[("dgm_db_oldest_transaction_timestamp_seconds{job=\"dgm\", instance=\"a\"}", "0+60x30")]),
        alert("DgmLocksWaiting", Warning)
            .when("2m", "max by (job) (dgm_db_locks_waiting) > 3")
            .says("Statements wait for locks.", "{{ $value | humanize }} of them wait for somebody who holds one.")
            .fires("5m", &[("dgm_db_locks_waiting{job=\"dgm\", instance=\"a\"}", "9x20")])
            .silent("5m", &[("dgm_db_locks_waiting{job=\"dgm\", instance=\"a\"}", "2x20")]),
        alert("DgmDeadlocks", Warning)
            .when("0m", "max by (job) (increase(dgm_db_server_deadlocks_total[15m])) > 3")
            .lingers(LINGERS_AFTER_EVENTS)
            .says("Transactions deadlock.", "{{ $value | humanize }} times within 15 minutes; the service takes locks in one order.")
            .fires("15m", &[("dgm_db_server_deadlocks_total{job=\"dgm\", instance=\"a\"}", "0+1x20")])
            .silent("15m", &[("dgm_db_server_deadlocks_total{job=\"dgm\", instance=\"a\"}", "0 1x20")]),
        alert("DgmReplicationLag", Warning)
            .when("5m", "max by (job) (dgm_db_standby_lag_seconds) > 30 or max by (job) (dgm_db_replica_lag_seconds) > 30")
            .says("A standby is behind.", "It lags by {{ $value | humanizeDuration }}; reads go to the primary meanwhile.")
            .fires("10m", &[("dgm_db_standby_lag_seconds{job=\"dgm\", instance=\"a\"}", "60x20")])
            .silent(
                "10m",
                &[
                    ("dgm_db_standby_lag_seconds{job=\"dgm\", instance=\"a\"}", "2x20"),
                    ("dgm_db_replica_lag_seconds{job=\"dgm\", instance=\"a\"}", "1x20"),
                ],
            ),
        alert("DgmArchiverFailing", Warning)
            .when(
                "15m",
                "max by (job) (rate(dgm_db_wal_segments_archived_total{outcome=\"failed\"}[15m])) > 0",
            )
            .lingers(LINGERS_AFTER_EVENTS)
            .says("WAL is not archived.", "Attempts fail, so a restore would end where the archive ends, and the volume of WAL fills.")
            .fires("40m", &[("dgm_db_wal_segments_archived_total{job=\"dgm\", instance=\"a\", outcome=\"failed\"}", "0+1x50")])
            .silent("40m", &[("dgm_db_wal_segments_archived_total{job=\"dgm\", instance=\"a\", outcome=\"archived\"}", "0+1x50")]),
        alert("DgmConnectionsHigh", Warning)
            .when(
                "10m",
                "sum by (job) (max by (job, state) (dgm_db_server_connections)) / max by (job) (dgm_db_server_connections_max) > 0.85",
            )
            .says(
                "PostgreSQL has hardly a connection left.",
                "{{ $value | humanizePercentage }} are taken; with none left nobody can connect.",
            )
            .fires("20m", &connections("90x30"))
            .silent("20m", &connections("40x30")),
        alert("DgmIndexesInvalid", Warning)
            .when("1h", "max by (job) (dgm_db_indexes_invalid) > 0")
            .says("An index is not used.", "{{ $value }} are invalid: an interrupted build left them; `dgm migrate verify` names them.")
            .fires("90m", &[("dgm_db_indexes_invalid{job=\"dgm\", instance=\"a\"}", "1x100")])
            .silent("90m", &[("dgm_db_indexes_invalid{job=\"dgm\", instance=\"a\"}", "1x30 0x70")]),
    ]
}

fn dead(rows: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_db_rows_dead{job=\"dgm\", instance=\"a\", table=\"dgm_archive\"}", rows),
        ("dgm_db_rows_live{job=\"dgm\", instance=\"a\", table=\"dgm_archive\"}", "100000x100"),
    ]
}

fn connections(active: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_db_server_connections{job=\"dgm\", instance=\"a\", state=\"active\"}", active),
        ("dgm_db_server_connections_max{job=\"dgm\", instance=\"a\"}", "100x30"),
    ]
}

fn xid() -> [Alert; 2] {
    let age = "dgm_db_xid_age{job=\"dgm\", instance=\"a\"}";
    [(Severity::Warning, "5e8", "2e8x20"), (Severity::Critical, "1.5e9", "1e9x20")].map(|(severity, most, below)| {
        alert("DgmXidAge", severity)
            .when("5m", format!("max by (job) (dgm_db_xid_age) > {most}"))
            .says(
                "VACUUM does not freeze rows in time.",
                "The oldest row is {{ $value | humanize }} transactions old; short of 2.1 billion PostgreSQL refuses writes.",
            )
            .fires("10m", &[(age, "2e9x20")])
            .silent("10m", &[(age, below)])
    })
}
