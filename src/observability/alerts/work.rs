//! Scheduled jobs and the queue of improvements.

use crate::observability::rule::{Alert, Severity, Team};
use Severity::{Critical, Warning};

fn alert(name: &'static str, severity: Severity) -> Alert {
    Alert::new(name, severity, Team::Service, "dgm-jobs")
}

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = jobs();
    alerts.extend(queue());
    alerts
}

/// Jobs that each process runs for itself; of the others one of all replicas runs each occurrence.
pub const EACH: &str = "warm-cache|flush-access-counts|collect-health|prune-logs";

/// When a job is stale, by what it is told for. Of those on the record every replica tells the last success anywhere.
fn stale(by: &str, is: &str) -> String {
    let last = format!("dgm_job_last_success_timestamp_seconds{{job_name{is}\"{EACH}\"}}");
    let interval = format!("dgm_job_interval_seconds{{job_name{is}\"{EACH}\"}}");
    format!(
        "time() - max by ({by}) (\n  {last}\n\
         \x20 or on (job, instance, job_name) ({interval} * 0 + on (job, instance) group_left () process_start_time_seconds)\n\
         ) > 2 * max by ({by}) ({interval}) + $(5m)"
    )
}

fn success(job: &str, values: &'static str) -> [(String, String); 3] {
    [
        (
            format!("dgm_job_last_success_timestamp_seconds{{job=\"dgm\", instance=\"a\", job_name=\"{job}\"}}"),
            values.to_owned(),
        ),
        (format!("dgm_job_interval_seconds{{job=\"dgm\", instance=\"a\", job_name=\"{job}\"}}"), "60x60".to_owned()),
        ("process_start_time_seconds{job=\"dgm\", instance=\"a\"}".to_owned(), "0x60".to_owned()),
    ]
}

fn jobs() -> Vec<Alert> {
    vec![
        alert("DgmJobStale", Critical)
            .when("1m", stale("job, job_name", "!~"))
            .says(
                "The job {{ $labels.job_name }} does not succeed.",
                "Its last success was {{ $value | humanizeDuration }} ago, more than two of its intervals.",
            )
            .fires("20m", &success("rescue-leases", "60x60"))
            .silent("20m", &success("rescue-leases", "0+60x60")),
        alert("DgmJobStale", Critical)
            .when("1m", stale("job, instance, job_name", "=~"))
            .labels("scope", "instance")
            .says(
                "The job {{ $labels.job_name }} does not succeed in {{ $labels.instance }}.",
                "Its last success there was {{ $value | humanizeDuration }} ago, more than two of its intervals.",
            )
            .fires("20m", &success("collect-health", "60x60"))
            // Never, though it should run at once.
            .fires("20m", &success("collect-health", "_x60"))
            .silent("20m", &success("collect-health", "0+60x60"))
            // Just begun.
            .silent("3m", &success("collect-health", "_x60")),
        alert("DgmJobFailing", Warning)
            .when(
                "0m",
                // Without PostgreSQL, or a connection to it, every job fails; that is told otherwise.
                "(\n\
                 \x20 sum by (job, job_name) (increase(dgm_job_runs_total{outcome=~\"failure|timeout|lost\"}[15m])) > 2\n\
                 \x20 or sum by (job, job_name) (increase(dgm_job_runs_total{outcome=~\"failure|timeout|lost\"}[3h])) > 1.5\n\
                 \x20 unless sum by (job, job_name) (increase(dgm_job_runs_total{outcome=\"success\"}[3h])) > 0\n\
                 ) unless on (job) min by (job) (min_over_time(dgm_db_up[15m])) == 0\n\
                 unless on (job) sum by (job) (increase(dgm_db_errors_total{class=~\"too_many_connections|authorization|database\"}[15m])) > 5",
            )
            .says(
                "The job {{ $labels.job_name }} fails.",
                "{{ $value | humanize }} runs failed or took too long; `dgm job list` and the log say why.",
            )
            .fires("20m", &runs("failure", "0+1x200"))
            .silent("20m", &runs("failure", "0 1x200"))
            .silent("20m", &without_database())
            .silent("20m", &without_connection())
            .silent("20m", &runs("skipped", "0+1x200")),
        alert("DgmJobOverlap", Critical)
            .when(
                "1m",
                format!("sum by (job, job_name) (dgm_job_running{{job_name!~\"{EACH}\"}}) > 1"),
            )
            .says(
                "{{ $labels.job_name }} runs {{ $value }} times at once.",
                "One replica at a time may run it; an advisory lock of PostgreSQL sees to that, or should.",
            )
            .fires("5m", &running("rescue-leases"))
            .silent("5m", &running("warm-cache")),
        alert("DgmJobMissed", Warning)
            .when("0m", "sum by (job, job_name) (increase(dgm_job_missed_total[1h])) > 0")
            .says(
                "Occurrences of {{ $labels.job_name }} were missed.",
                "{{ $value | humanize }} within an hour: no replica was there to run them in time. They are not run later.",
            )
            .fires("20m", &[("dgm_job_missed_total{job=\"dgm\", instance=\"a\", job_name=\"rescue-leases\"}", "0 0 0 3x60")])
            .silent("20m", &[("dgm_job_missed_total{job=\"dgm\", instance=\"a\", job_name=\"rescue-leases\"}", "3x60")]),
    ]
}

fn runs(outcome: &str, values: &str) -> [(String, String); 1] {
    let series =
        format!("dgm_job_runs_total{{job=\"dgm\", instance=\"a\", job_name=\"rescue-leases\", outcome=\"{outcome}\"}}");
    [(series, values.to_owned())]
}

fn without_database() -> Vec<(String, String)> {
    let mut series = runs("failure", "0+1x200").to_vec();
    series.push(("dgm_db_up{job=\"dgm\", instance=\"a\"}".to_owned(), "1x10 0x3 1x100".to_owned()));
    series
}

fn without_connection() -> Vec<(String, String)> {
    let mut series = runs("failure", "0+1x200").to_vec();
    let errors = "dgm_db_errors_total{job=\"dgm\", instance=\"a\", class=\"too_many_connections\"}";
    series.push((errors.to_owned(), "0+60x200".to_owned()));
    series
}

fn running(job: &str) -> [(String, String); 2] {
    ["a", "b"].map(|instance| {
        (format!("dgm_job_running{{job=\"dgm\", instance=\"{instance}\", job_name=\"{job}\"}}"), "1x20".to_owned())
    })
}

fn queue() -> Vec<Alert> {
    vec![
        alert("DgmQueueAgeHigh", Warning)
            .when(
                "5m",
                "time() - min by (job) (dgm_improvements_oldest_queued_timestamp_seconds > 0) > $(1h)",
            )
            .says(
                "Improvements wait for workers.",
                "The oldest has been queued for {{ $value | humanizeDuration }}: there are too few workers, or none.",
            )
            .fires("80m", &[("dgm_improvements_oldest_queued_timestamp_seconds{job=\"dgm\", instance=\"a\"}", "60x100")])
            .silent("80m", &[("dgm_improvements_oldest_queued_timestamp_seconds{job=\"dgm\", instance=\"a\"}", "0x100")])
            .silent("80m", &[("dgm_improvements_oldest_queued_timestamp_seconds{job=\"dgm\", instance=\"a\"}", "0+60x100")]),
        alert("DgmLeasesExpiring", Warning)
            .when(
                "15m",
                "sum by (job) (rate(dgm_leases_rescued_total[15m]))\n\
                 / sum by (job) (rate(dgm_improvements_claimed_total[15m])) > 0.1\n\
                 and sum by (job) (increase(dgm_leases_rescued_total[15m])) > 5",
            )
            .says(
                "Workers fall silent.",
                "{{ $value | humanizePercentage }} of what is claimed is taken back from workers that do not report or run too long.",
            )
            .fires("40m", &rescues("0+3x60"))
            .silent("40m", &rescues("0 1x60")),
    ]
}

fn rescues(values: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_leases_rescued_total{job=\"dgm\", instance=\"a\", outcome=\"requeued\"}", values),
        ("dgm_improvements_claimed_total{job=\"dgm\", instance=\"a\", priority=\"high\"}", "0+6x60"),
    ]
}
