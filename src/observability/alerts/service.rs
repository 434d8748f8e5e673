//! The process, what it writes for others to read, and the machine below it.

use crate::observability::rule::{Alert, LINGERS_AFTER_EVENTS, Severity, Team};
use Severity::{Critical, Info, Warning};

const OVERVIEW: &str = "dgm-overview";
const RUNTIME: &str = "dgm-runtime";

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = vec![
        Alert::new("DgmDown", Critical, Team::Service, OVERVIEW)
            .when("2m", "up{job=\"$job\"} == 0")
            .says(
                "{{ $labels.instance }} cannot be scraped.",
                "Prometheus has had no answer from the operations listener of {{ $labels.instance }} for 2 minutes.",
            )
            .fires("5m", &[("up{job=\"dgm\", instance=\"a\"}", "1 1 0x20")])
            .silent("10m", &[("up{job=\"dgm\", instance=\"a\"}", "1 0 1x20")]),
        Alert::new("DgmTargetAbsent", Critical, Team::Platform, OVERVIEW)
            .when("5m", "absent(up{job=\"$job\"})")
            .says(
                "Prometheus knows no instance of the service.",
                "No target of the job $job: nothing is deployed, or its discovery is broken; no other alert of the service can fire.",
            )
            .fires("10m", &[("up{job=\"other\"}", "1x20")])
            .silent("10m", &[("up{job=\"dgm\", instance=\"a\"}", "0x20")]),
        Alert::new("DgmSloMetricAbsent", Warning, Team::Service, OVERVIEW)
            .when(
                "15m",
                "count by (job) (max_over_time(up{job=\"$job\"}[5m]) == 1) unless on (job) count by (job) (dgm:slo_events:rate5m{slo=\"availability\"})",
            )
            .says(
                "The figures of the objectives are absent.",
                "Instances are up, and yet the recording rules give nothing: the rules are not loaded, or a metric has another name. \
                 The burn-rate alerts cannot fire.",
            )
            .fires("20m", &[("up{job=\"dgm\", instance=\"a\"}", "1x30")])
            .silent(
                "20m",
                &[
                    ("up{job=\"dgm\", instance=\"a\"}", "1x30"),
                    ("dgm_http_requests_total{job=\"dgm\", route=\"/api/v1/archive\", status=\"2xx\"}", "0x30"),
                ],
            ),
        Alert::new("DgmPanic", Warning, Team::Service, RUNTIME)
            .when("0m", "increase(dgm_panics_total{job=\"$job\"}[15m]) > 0")
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "{{ $labels.instance }} panicked.",
                "{{ $value | humanize }} panics in 15 minutes. A request that panics gets 500, a job fails; the process goes on. The log has \
                 `panicked at` with the place and the request.",
            )
            .fires("5m", &[("dgm_panics_total{job=\"dgm\", instance=\"a\"}", "0 1x10")])
            .silent("30m", &[("dgm_panics_total{job=\"dgm\", instance=\"a\"}", "3x40")]),
        Alert::new("DgmClockDiffers", Warning, Team::Platform, RUNTIME)
            .when("2m", "abs(dgm_clock_difference_seconds{job=\"$job\"}) > 5")
            .says(
                "The clock of {{ $labels.instance }} differs from that of PostgreSQL.",
                "It has been {{ $value | humanizeDuration }} off for 2 minutes. While the difference is above 5 s, this instance drops no \
                 partitions and deletes no artifacts or log files on account of their age.",
            )
            .fires("10m", &[("dgm_clock_difference_seconds{job=\"dgm\", instance=\"a\"}", "0 34560000x20")])
            .fires("10m", &[("dgm_clock_difference_seconds{job=\"dgm\", instance=\"a\"}", "0 -7x20")])
            .silent("10m", &[("dgm_clock_difference_seconds{job=\"dgm\", instance=\"a\"}", "-4x20")])
            .silent("10m", &[("dgm_clock_difference_seconds{job=\"dgm\", instance=\"a\"}", "0 7 0x20")]),
        Alert::new("DgmRestarting", Warning, Team::Service, RUNTIME)
            .when("0m", "changes(process_start_time_seconds{job=\"$job\"}[15m]) > 2")
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "{{ $labels.instance }} starts again and again.",
                "It began {{ $value }} times within 15 minutes.",
            )
            .fires("15m", &[("process_start_time_seconds{job=\"dgm\", instance=\"a\"}", "1 1 2 2 3 3 4 4x20")])
            .silent("15m", &[("process_start_time_seconds{job=\"dgm\", instance=\"a\"}", "1 1 2 2x20")]),
        Alert::new("DgmAuthFailures", Info, Team::Service, "dgm-api")
            .when(
                "10m",
                "sum by (job) (rate(dgm_auth_failures_total{reason=~\"unknown|expired\"}[5m])) > 10",
            )
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "Many callers show tokens that are not valid.",
                "{{ $value | humanize }} requests a second are refused for an unknown or expired token.",
            )
            .fires("20m", &[("dgm_auth_failures_total{job=\"dgm\", reason=\"unknown\"}", "0+1200x30")])
            .silent("20m", &[("dgm_auth_failures_total{job=\"dgm\", reason=\"missing\"}", "0+1200x30")])
            .silent("20m", &[("dgm_auth_failures_total{job=\"dgm\", reason=\"unknown\"}", "0+60x30")]),
    ];
    alerts.extend(process());
    alerts.extend(artifacts());
    alerts.extend(deployment());
    alerts.extend([(Warning, "0.8"), (Critical, "0.9")].map(|(severity, share)| volume(severity, share)));
    alerts
}

/// The process, and what it writes for others to read.
fn process() -> Vec<Alert> {
    vec![
        Alert::new("DgmRuntimeSaturated", Warning, Team::Service, RUNTIME)
            .when(
                "5m",
                "histogram_quantile(0.99, sum by (job, instance, le) (rate(dgm_runtime_delay_seconds_bucket[5m]))) > 0.05",
            )
            .says(
                "Everything {{ $labels.instance }} does starts late.",
                "One task in a hundred waits {{ $value | humanizeDuration }} for a processor: too few of them, or something blocks.",
            )
            .fires(
                "15m",
                &[
                    ("dgm_runtime_delay_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.05\"}", "0+300x20"),
                    ("dgm_runtime_delay_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.1\"}", "0+600x20"),
                    ("dgm_runtime_delay_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"+Inf\"}", "0+600x20"),
                ],
            )
            .silent(
                "15m",
                &[
                    ("dgm_runtime_delay_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.005\"}", "0+600x20"),
                    ("dgm_runtime_delay_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"+Inf\"}", "0+600x20"),
                ],
            ),
        Alert::new("DgmFileDescriptorsHigh", Warning, Team::Service, RUNTIME)
            .when("10m", "process_open_fds{job=\"$job\"} / process_max_fds{job=\"$job\"} > 0.8")
            .says(
                "{{ $labels.instance }} has nearly all its files open.",
                "{{ $value | humanizePercentage }} of the descriptors are in use; without more it cannot accept connections.",
            )
            .fires(
                "15m",
                &[
                    ("process_open_fds{job=\"dgm\", instance=\"a\"}", "900x20"),
                    ("process_max_fds{job=\"dgm\", instance=\"a\"}", "1024x20"),
                ],
            )
            .silent(
                "15m",
                &[
                    ("process_open_fds{job=\"dgm\", instance=\"a\"}", "700x20"),
                    ("process_max_fds{job=\"dgm\", instance=\"a\"}", "1024x20"),
                ],
            ),
        Alert::new("DgmCardinalityHigh", Info, Team::Platform, RUNTIME)
            .when("15m", "max_over_time(scrape_samples_scraped{job=\"$job\"}[5m]) > 10000")
            .says(
                "{{ $labels.instance }} has too many series.",
                "{{ $value | humanize }} samples in a scrape; the labels are closed sets, so this is a fault of the service.",
            )
            .fires("20m", &[("scrape_samples_scraped{job=\"dgm\", instance=\"a\"}", "12000x30")])
            .silent("20m", &[("scrape_samples_scraped{job=\"dgm\", instance=\"a\"}", "5000x30")]),
        Alert::new("DgmTraceExportFailing", Info, Team::Platform, RUNTIME)
            .when("10m", "sum by (job, instance) (rate(dgm_trace_spans_total{outcome=~\"failed|dropped\"}[5m])) > 0")
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "Traces of {{ $labels.instance }} are lost.",
                "{{ $value | humanize }} spans a second do not reach the collector. Nothing else suffers.",
            )
            .fires("20m", &[("dgm_trace_spans_total{job=\"dgm\", instance=\"a\", outcome=\"failed\"}", "0+60x30")])
            .silent("20m", &[("dgm_trace_spans_total{job=\"dgm\", instance=\"a\", outcome=\"sent\"}", "0+60x30")]),
        Alert::new("DgmLogWritesFailing", Warning, Team::Platform, RUNTIME)
            .when("2m", "sum by (job, instance) (rate(dgm_log_failures_total[5m])) > 0")
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "Log lines of {{ $labels.instance }} are lost.",
                "{{ $value | humanize }} lines a second cannot be written. The service goes on without them.",
            )
            .fires("10m", &[("dgm_log_failures_total{job=\"dgm\", instance=\"a\", reason=\"write\"}", "0+60x30")])
            .silent("10m", &[("dgm_log_failures_total{job=\"dgm\", instance=\"a\", reason=\"write\"}", "5x30")]),
    ]
}

/// What is deployed, and whether its monitoring works.
fn deployment() -> [Alert; 3] {
    let build = |instance: &str, revision: &str| {
        format!(
            "dgm_build_info{{job=\"dgm\", instance=\"{instance}\", version=\"1.0.0\", revision=\"{revision}\", rustc=\"1\"}}"
        )
    };
    [
        Alert::new("DgmVersionsMixed", Warning, Team::Service, OVERVIEW)
            .when("30m", "count by (job) (count by (job, version, revision) (dgm_build_info)) > 1")
            .says(
                "Replicas run different versions.",
                "{{ $value }} builds have been running for half an hour: a rolling upgrade stopped half-way, or a replica was left out.",
            )
            .fires("50m", &[(build("a", "new"), "1x90"), (build("b", "old"), "1x90")])
            .silent("50m", &[(build("a", "new"), "1x90"), (build("b", "new"), "1x90")])
            // An upgrade.
            .silent("50m", &[(build("a", "new"), "_x20 1x70"), (build("b", "old"), "1x30 stale _x60"), (build("b", "new"), "_x30 1x60")]),
        Alert::new("DgmStorageTargetMissing", Warning, Team::Platform, RUNTIME)
            .when("5m", "dgm_storage_target_ready == 0")
            .says(
                "The target of {{ $labels.target }} of {{ $labels.instance }} is not there.",
                "The place that the setting names (exports: samples.export_url, artifacts: artifacts.url) is not mounted, not \
                 initialised, or does not answer. No month is exported or dropped; artifacts are neither stored nor read.",
            )
            .fires("10m", &[("dgm_storage_target_ready{job=\"dgm\", instance=\"a\", target=\"exports\"}", "1 0x30")])
            .silent("10m", &[("dgm_storage_target_ready{job=\"dgm\", instance=\"a\", target=\"exports\"}", "1 0 1x30")]),
        Alert::new(WATCHDOG, Severity::None, Team::Platform, OVERVIEW)
            .when("0m", "vector(1)")
            .says(
                "The alerting works.",
                "This alert always fires. Its receiver expects it every minute, and pages when it stays away: then Prometheus or \
                 Alertmanager is down, or cannot reach the receiver, and no other alert arrives.",
            )
            .fires("5m", &[("up{job=\"other\"}", "1x30")]),
    ]
}

/// The alert that always fires.
pub const WATCHDOG: &str = "DgmWatchdog";

/// What is kept outside the database.
fn artifacts() -> [Alert; 2] {
    [
        Alert::new("DgmArtifactStorageFailing", Warning, Team::Platform, "dgm-api")
            .when("5m", "sum by (job, call) (rate(dgm_artifact_storage_errors_total[5m])) > 0.05")
            .lingers(LINGERS_AFTER_EVENTS)
            .says(
                "The artifact storage fails.",
                "{{ $value | humanize }} calls a second to {{ $labels.call }} fail: files of entries are not taken or not given.",
            )
            .fires("15m", &[("dgm_artifact_storage_errors_total{job=\"dgm\", instance=\"a\", call=\"write\"}", "0+6x30")])
            .silent("15m", &[("dgm_artifact_storage_errors_total{job=\"dgm\", instance=\"a\", call=\"write\"}", "0 1x30")]),
        Alert::new("DgmArtifactLost", Critical, Team::Platform, "dgm-api")
            .when("0m", "sum by (job) (increase(dgm_artifacts_lost_total[1h])) > 0")
            .says(
                "Bytes of artifacts are gone.",
                "{{ $value | humanize }} requests within an hour were for files that the database has and the storage has not.",
            )
            .fires("10m", &[("dgm_artifacts_lost_total{job=\"dgm\", instance=\"a\"}", "0 0 1x30")])
            .silent("10m", &[("dgm_artifacts_lost_total{job=\"dgm\", instance=\"a\"}", "7x30")]),
    ]
}

/// The volumes that are not the database server's: of those `DgmDatabaseDiskFull` tells their team.
const OWN: &str = "{volume!~\"database|wal\"}";

fn volume(severity: Severity, share: &str) -> Alert {
    let (size, free) = (
        "dgm_volume_size_bytes{job=\"dgm\", instance=\"a\", volume=\"logs\"}",
        "dgm_volume_free_bytes{job=\"dgm\", instance=\"a\", volume=\"logs\"}",
    );
    Alert::new("DgmVolumeFull", severity, Team::Platform, RUNTIME)
        .when("5m", format!("1 - dgm_volume_free_bytes{OWN} / dgm_volume_size_bytes{OWN} > {share}"))
        .says(
            "The volume of {{ $labels.volume }} of {{ $labels.instance }} is nearly full.",
            "{{ $value | humanizePercentage }} of it is in use.",
        )
        .fires("10m", &[(size, "100x20"), (free, "5x20")])
        .silent("10m", &[(size, "100x20"), (free, "25x20")])
}
