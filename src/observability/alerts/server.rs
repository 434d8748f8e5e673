//! The PostgreSQL server: standbys and what is kept for them, its disk, and what it refuses.

use crate::observability::rule::{Alert, LINGERS_AFTER_EVENTS, LINGERS_OF_CAUSES, Severity, Team};
use Severity::{Critical, Info, Warning};

const DATABASE: &str = "dgm-database";

fn alert(name: &'static str, severity: Severity) -> Alert {
    Alert::new(name, severity, Team::Database, DATABASE)
}

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = Vec::from(refusals());
    alerts.extend(replication());
    alerts.extend([(Warning, "2", "3e9x30", "1.5e9x30"), (Critical, "8", "9e9x30", "7e9x30")].map(retained));
    alerts.extend([(Warning, "0.8", "15x20"), (Critical, "0.9", "5x20")].map(disk));
    alerts.push(unknown_disk());
    alerts
}

fn errors(class: &str) -> String {
    format!("dgm_db_errors_total{{job=\"dgm\", instance=\"a\", class=\"{class}\"}}")
}

/// What the server answers in place of a result.
fn refusals() -> [Alert; 2] {
    [
        alert("DgmConnectionsRefused", Critical)
            .when(
                "1m",
                "sum by (job, class) (increase(dgm_db_errors_total{class=~\"too_many_connections|authorization|database\"}[2m])) > 5",
            )
            .lingers(LINGERS_OF_CAUSES)
            .says(
                "PostgreSQL refuses connections: {{ $labels.class }}.",
                "{{ $value | humanize }} attempts within 2 minutes. too_many_connections: the server, the role or the database has as many \
                 as it allows. authorization: the role, its password or pg_hba.conf. database: the database does not exist.",
            )
            .fires("10m", &[(errors("too_many_connections"), "0+60x40")])
            .fires("10m", &[(errors("authorization"), "0+60x40")])
            .silent("10m", &[(errors("too_many_connections"), "0 3x40")])
            .silent("10m", &[(errors("connection"), "0+60x40")]),
        alert("DgmPostgresFailing", Critical)
            .when(
                "1m",
                "sum by (job, class) (increase(dgm_db_errors_total{class=~\"disk_full|out_of_memory|system|internal\"}[5m])) > 3",
            )
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "PostgreSQL fails: {{ $labels.class }}.",
                "{{ $value | humanize }} statements within 5 minutes. disk_full: a disk of the server. out_of_memory: its memory. system: \
                 reading or writing a file. internal: damaged data, or a defect of PostgreSQL or of an extension.",
            )
            .fires("10m", &[(errors("disk_full"), "0+6x40")])
            .fires("10m", &[(errors("internal"), "0+6x40")])
            .silent("10m", &[(errors("internal"), "0 1x40")])
            .silent("10m", &[(errors("constraint"), "0+60x40")]),
    ]
}

fn standbys(expected: &'static str, connected: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_db_standbys_expected{job=\"dgm\", instance=\"a\"}", expected),
        ("dgm_db_standbys{job=\"dgm\", instance=\"a\"}", connected),
    ]
}

fn slots(state: &str, count: &'static str) -> [(String, &'static str); 1] {
    [(format!("dgm_db_replication_slots{{job=\"dgm\", instance=\"a\", state=\"{state}\"}}"), count)]
}

fn replication() -> [Alert; 3] {
    [
        alert("DgmStandbyMissing", Warning)
            .when("5m", "max by (job) (dgm_db_standbys_expected) - max by (job) (dgm_db_standbys) > 0")
            .says(
                "A standby is missing.",
                "{{ $value }} fewer than there should be are connected to the primary. Their lag is not known, and a failover to them would \
                 lose what they have not received.",
            )
            .fires("10m", &standbys("2x30", "2 1x30"))
            .silent("10m", &standbys("2x30", "2 1 2x30"))
            .silent("10m", &standbys("0x30", "0x30")),
        alert("DgmSlotInactive", Warning)
            .when("10m", "max by (job, state) (dgm_db_replication_slots{state=~\"inactive|lost\"}) > 0")
            .says(
                "Replication slots are {{ $labels.state }}.",
                "{{ $value }} of them. inactive: no consumer is connected, and the server keeps WAL for it until its disk is full. lost: the \
                 server has removed WAL that the consumer needs, which must be built again.",
            )
            .fires("20m", &slots("inactive", "0 1x40"))
            .fires("20m", &slots("lost", "1x40"))
            .silent("20m", &slots("inactive", "0 1x5 0x40"))
            .silent("20m", &slots("active", "1x40")),
        alert("DgmStatisticsHidden", Warning)
            .when("10m", "max by (job) (dgm_db_statistics_visible) == 0")
            .says(
                "The service may not see PostgreSQL's statistics.",
                "Its role lacks pg_monitor: sessions of other roles, locks, long transactions and the lag of standbys are not known, and their \
                 alerts cannot fire.",
            )
            .fires("20m", &[("dgm_db_statistics_visible{job=\"dgm\", instance=\"a\"}", "1 0x40")])
            .silent("20m", &[("dgm_db_statistics_visible{job=\"dgm\", instance=\"a\"}", "1x40")]),
    ]
}

/// By the operator's own measure of how much WAL the disk must hold.
fn retained((severity, times, much, little): (Severity, &str, &'static str, &'static str)) -> Alert {
    let series = |kept: &'static str| {
        [
            ("dgm_db_replication_slot_wal_bytes{job=\"dgm\", instance=\"a\"}", kept),
            ("dgm_db_wal_max_bytes{job=\"dgm\", instance=\"a\"}", "1e9x30"),
        ]
    };
    alert("DgmSlotWalHigh", severity)
        .when("10m", format!("max by (job) (dgm_db_replication_slot_wal_bytes) / max by (job) (dgm_db_wal_max_bytes) > {times}"))
        .says(
            "A replication slot keeps too much WAL.",
            "{{ $value | humanize }} times max_wal_size. It grows until the consumer has read it, the slot is dropped, or the disk of the server \
             is full.",
        )
        .fires("20m", &series(much))
        .silent("20m", &series(little))
}

fn disk((severity, share, free): (Severity, &str, &'static str)) -> Alert {
    let series = |volume: &str, free: &'static str| {
        ["size", "free"].map(|what| {
            let series = format!("dgm_volume_{what}_bytes{{job=\"dgm\", instance=\"a\", volume=\"{volume}\"}}");
            (series, if what == "size" { "100x20" } else { free })
        })
    };
    let server = "{volume=~\"database|wal\"}";
    alert("DgmDatabaseDiskFull", severity)
        .when("5m", format!("1 - dgm_volume_free_bytes{server} / dgm_volume_size_bytes{server} > {share}"))
        .says(
            "The disk of PostgreSQL is nearly full ({{ $labels.volume }}).",
            "{{ $value | humanizePercentage }} of it is in use. With no space left PostgreSQL refuses writes, and stops when it cannot write WAL.",
        )
        .fires("10m", &series("database", free))
        .fires("10m", &series("wal", free))
        .silent("10m", &series("database", "25x20"))
        // DgmVolumeFull reports it.
        .silent("10m", &series("logs", free))
}

fn unknown_disk() -> Alert {
    let claim = "kubelet_volume_stats_capacity_bytes{job=\"kubelet\", namespace=\"dgm\", persistentvolumeclaim=\"dgm-postgres-1\"}";
    let up = ("dgm_db_up{job=\"dgm\", instance=\"a\"}", "1x100");
    alert("DgmDatabaseDiskUnknown", Info)
        .when(
            "1h",
            "count by (job) (dgm_db_up) unless on (job) dgm_volume_size_bytes{volume=\"database\"}\n\
             unless on () kubelet_volume_stats_capacity_bytes{persistentvolumeclaim=~\"dgm-postgres.*\"}",
        )
        .says(
            "The disk of PostgreSQL is not measured here.",
            "Neither is database.data_directory set, nor is there a persistent volume claim: DgmDatabaseDiskFull and DgmClaimFull cannot fire \
             for it. Make sure that its own monitoring watches the disk.",
        )
        .fires("90m", &[up])
        .silent("90m", &[up, ("dgm_volume_size_bytes{job=\"dgm\", instance=\"a\", volume=\"database\"}", "100x100")])
        .silent("90m", &[up, (claim, "100x100")])
}
