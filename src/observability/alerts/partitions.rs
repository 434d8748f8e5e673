//! The monthly partitions of the samples.

use crate::observability::rule::{Alert, Severity, Team};
use Severity::{Critical, Warning};

fn alert(name: &'static str, severity: Severity) -> Alert {
    Alert::new(name, severity, Team::Database, "dgm-database")
}

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = vec![
        alert("DgmPartitionMissing", Critical)
            .when(
                // A month begins some minutes before the job makes the next one that is to be made ahead.
                "15m",
                // This month and the next must be there. That another one is gone shows by their number; when retention
                // drops one, the oldest is a younger one.
                "max by (job, table) (dgm_partitions_missing) > 0\n\
                 or max by (job, table) (max_over_time(dgm_partitions[2h])) - max by (job, table) (dgm_partitions)\n\
                 - max by (job, table) (dgm_partitions_detached) > 0.5\n\
                 and min by (job, table) (dgm_partition_oldest_timestamp_seconds)\n\
                 == min by (job, table) (min_over_time(dgm_partition_oldest_timestamp_seconds[2h]))",
            )
            .says(
                "Partitions of {{ $labels.table }} are missing.",
                "{{ $value | humanize }} of this month and the next, or of those that were there two hours ago, are gone: samples of these \
                 months are refused, or lost.",
            )
            .fires("20m", &[("dgm_partitions_missing{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x30")])
            .silent("20m", &[("dgm_partitions_missing{job=\"dgm\", instance=\"a\", table=\"t\"}", "1x8 0x20")])
            // Retention dropped one.
            .silent("30m", &lost("0x10 100x60"))
            .silent("30m", &[("dgm_partitions{job=\"dgm\", instance=\"a\", table=\"t\"}", "5x10 6x60")])
            .fires("30m", &lost("0x70")),
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
    alerts.extend(horizon());
    alerts
}

fn lost(oldest: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("dgm_partitions{job=\"dgm\", instance=\"a\", table=\"t\"}", "6x10 5x60"),
        ("dgm_partitions_detached{job=\"dgm\", instance=\"a\", table=\"t\"}", "0x70"),
        ("dgm_partition_oldest_timestamp_seconds{job=\"dgm\", instance=\"a\", table=\"t\"}", oldest),
    ]
}

/// Months are months: these times are not made shorter with the rest. What is to be made ahead is a setting; with one month of
/// it there are 28 days at least.
fn horizon() -> [Alert; 2] {
    let ahead = "min by (job, table) (dgm_partition_horizon_timestamp_seconds) - time()";
    let series = |horizon: &'static str| {
        [
            ("dgm_partition_horizon_timestamp_seconds{job=\"dgm\", instance=\"a\", table=\"t\"}", horizon),
            ("dgm_partition_premake_months{job=\"dgm\", instance=\"a\", table=\"t\"}", "3x20"),
        ]
    };
    let wanted = format!("{ahead} < (max by (job, table) (dgm_partition_premake_months) - 1) * 30 * 86400");
    // promtool's clock begins at 0, so a horizon is seconds from then: 40, 20 and 100 days.
    [(Warning, wanted, "3456000x20"), (Critical, format!("{ahead} < 27 * 86400"), "1728000x20")].map(|(severity, expr, short)| {
        alert("DgmPartitionHorizonLow", severity)
            .when("5m", expr)
            .says(
                "Partitions of {{ $labels.table }} end soon.",
                "In {{ $value | humanizeDuration }} there is none left for new samples; the job ensure-partitions makes them.",
            )
            .fires("10m", &series(short))
            .silent("10m", &series("8640000x20"))
    })
}
