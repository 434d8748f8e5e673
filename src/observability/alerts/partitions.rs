//! The monthly partitions of the samples.

use crate::observability::rule::{Alert, Severity, Team};
use Severity::{Critical, Warning};

fn alert(name: &'static str, severity: Severity) -> Alert {
    Alert::new(name, severity, Team::Database, "dgm-database")
}

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = vec![
        alert("DgmPartitionMissing", Critical)
            .when("5m", "max by (job, table) (dgm_partitions_missing) > 0")
            .says(
                "Partitions of {{ $labels.table }} are missing.",
                "{{ $value }} months between the oldest and the newest to come have none; samples of these months are refused.",
            )
            .fires("10m", &[("dgm_partitions_missing{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x20")])
            .silent("10m", &[("dgm_partitions_missing{job=\"dgm\", instance=\"a\", table=\"t\"}", "1 1 0x20")]),
        alert("DgmSamplesRejected", Critical)
            .when("2m", "sum by (job) (rate(dgm_samples_rejected_total{reason=\"no_partition\"}[5m])) > 0")
            .says(
                "Samples find no partition.",
                "{{ $value | humanize }} a second are refused, though their month is kept: workers lose them unless they try again.",
            )
            .fires("10m", &[("dgm_samples_rejected_total{job=\"dgm\", instance=\"a\", reason=\"no_partition\"}", "0+6x20")])
            .silent("10m", &[("dgm_samples_rejected_total{job=\"dgm\", instance=\"a\", reason=\"invalid\"}", "0+6x20")]),
        alert("DgmRetentionBehind", Warning)
            .when("6h", "max by (job, table) (dgm_partitions_expired) > 0")
            .says(
                "Old partitions of {{ $labels.table }} are not dropped.",
                "{{ $value }} are past what is kept; something looks at them, or they cannot be exported.",
            )
            .fires("7h", &[("dgm_partitions_expired{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x500")])
            .silent("7h", &[("dgm_partitions_expired{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x100 0x400")]),
        alert("DgmPartitionDetachedLeft", Warning)
            .when("24h", "max by (job, table) (dgm_partitions_detached) > 0")
            .says(
                "A detached partition of {{ $labels.table }} was left.",
                "{{ $value }} have been detached for a day and are not dropped; their samples are not read any more.",
            )
            .fires("25h", &[("dgm_partitions_detached{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x1600")])
            .silent("25h", &[("dgm_partitions_detached{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x60 0x1540")]),
    ];
    // promtool's clock begins at 0, so a horizon is seconds from then.
    alerts.extend([(Warning, "60d", "3456000x20"), (Critical, "31d", "1728000x20")].map(|(severity, least, short)| {
        let horizon = "dgm_partition_horizon_timestamp_seconds{job=\"dgm\", instance=\"a\", table=\"t\"}";
        alert("DgmPartitionHorizonLow", severity)
            .when(
                "5m",
                // Not to be made shorter with the rest: months are months.
                format!("min by (job, table) (dgm_partition_horizon_timestamp_seconds) - time() < {}", days(least)),
            )
            .says(
                "Partitions of {{ $labels.table }} end soon.",
                "In {{ $value | humanizeDuration }} there is none left for new samples; the job ensure-partitions makes them.",
            )
            .fires("10m", &[(horizon, short)])
            .silent("10m", &[(horizon, "8640000x20")])
    }));
    alerts
}

fn days(text: &str) -> u64 {
    crate::observability::time::parse(text).map_or(0, |time| time.as_secs())
}
