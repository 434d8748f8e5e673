//! For whoever waits for work: scheduled jobs, the queue of improvements.

use crate::observability::dashboard::{Bad, Beyond, Dashboard, Panel};
use crate::telemetry::catalogue::jobs::ReportedJob;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-jobs",
        title: "dgm / Jobs and queue",
        description: "Whether the scheduled jobs do their work, and whether workers take and end what is queued.",
        rows: vec![("Queue of improvements", queue()), ("Scheduled jobs", jobs())],
        by_service: false,
    }
}

fn queue() -> Vec<Panel> {
    vec![
        Panel::lines("Depth", "none", "Improvements that have not ended, by state and priority.")
            .ask("{{state}} {{priority}}", "max by (state, priority) (dgm_improvements{$sel})"),
        Panel::lines("Age of the oldest", "s", "How long the oldest queued improvement has waited.")
            .ask("oldest", "time() - min(dgm_improvements_oldest_queued_timestamp_seconds{$sel} > 0) or vector(0)")
            .bad(Bad::Above(3600.0))
            .alerts(&["DgmQueueAgeHigh"]),
        Panel::stack("Claimed by priority", "cps", "Improvements a second that were handed out.")
            .ask("{{priority}}", "sum by (priority) (rate(dgm_improvements_claimed_total{$sel}[$__rate_interval]))"),
        Panel::lines("Wait in the queue, p95", "s", "Time within which 95 % of what is claimed had waited, by priority.").ask(
            "{{priority}}",
            "histogram_quantile(0.95, sum by (priority, le) (rate(dgm_improvements_wait_seconds_bucket{$sel}[$__rate_interval])))",
        ),
        Panel::lines("From claim to end, p95", "s", "Time within which 95 % of the improvements that ended by a call had run.").ask(
            "{{outcome}}",
            "histogram_quantile(0.95, sum by (outcome, le) (rate(dgm_improvements_run_seconds_bucket{$sel}[$__rate_interval])))",
        ),
        Panel::lines("Ended by outcome", "cps", "Improvements a second that ended by a call.")
            .ask("{{outcome}}", "sum by (outcome) (rate(dgm_improvements_finished_total{$sel}[$__rate_interval]))"),
        Panel::lines("Taken back", "cps", "Leases a second of workers that fell silent or ran too long.")
            .ask("{{outcome}}", "sum by (outcome) (rate(dgm_leases_rescued_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmLeasesExpiring"]),
        Panel::lines("Lag of events", "s", "Time from an event of an improvement until a process has it for an event stream that waits.")
            .quantiles("dgm_hub_delivery_lag_seconds", ""),
        Panel::lines("Notifications", "cps", "Notifications about improvements a second, sent by each process and received by those with streams.")
            .ask("{{direction}} {{instance}}", "sum by (instance, direction) (rate(dgm_hub_notifications_total{$sel}[$__rate_interval]))"),
    ]
}

fn jobs() -> Vec<Panel> {
    vec![
        Panel::lines("Since the last success", "s", "Time since each job last succeeded anywhere.")
            .ask(
                "{{job_name}}",
                format!(
                    "time() - max by (job_name) (dgm_job_last_success_timestamp_seconds{{$sel, job_name!~\"{}\"}})",
                    ReportedJob::any()
                ),
            )
            .alerts(&["DgmJobStale"])
            .size(12, 9),
        Panel::lines("The same, in intervals", "none", "Time since the last success in intervals of the job's schedule; above 2 it is stale.")
            .ask(
                "{{job_name}}",
                "(time() - max by (job_name) (dgm_job_last_success_timestamp_seconds{$sel})) / max by (job_name) (dgm_job_interval_seconds{$sel})",
            )
            .bad(Bad::Above(2.0))
            .alerts(&["DgmJobStale"])
            .size(12, 9),
        Panel::table("Runs", "none", "Runs within an hour by outcome; skipped: another replica was at it.")
            .beyond(Beyond::Errors)
            .ask("", "sum by (job_name, outcome) (increase(dgm_job_runs_total{$sel}[1h])) > 0")
            .alerts(&["DgmJobFailing"]),
        Panel::lines("Time of a run, p95", "s", "Time within which 95 % of a job's runs end.")
            .ask("{{job_name}}", "histogram_quantile(0.95, sum by (job_name, le) (rate(dgm_job_duration_seconds_bucket{$sel}[$__rate_interval])))")
            .size(12, 8),
        Panel::lines("Running", "none", "Runs under way over all replicas.")
            .ask("{{job_name}}", "sum by (job_name) (dgm_job_running{$sel})")
            .alerts(&["DgmJobOverlap"]),
        Panel::lines("Missed", "none", "Occurrences within an hour that no replica ran in time.")
            .ask("{{job_name}}", "sum by (job_name) (increase(dgm_job_missed_total{$sel}[1h]))")
            .alerts(&["DgmJobMissed"]),
        Panel::lines("Since the last start", "s", "Time since each job last began anywhere.")
            .ask("{{job_name}}", "time() - max by (job_name) (dgm_job_last_start_timestamp_seconds{$sel})"),
    ]
}
