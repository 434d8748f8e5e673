//! For whoever calls the API, and whoever looks for the route that is slow.

use crate::observability::dashboard::{Bad, Beyond, Dashboard, Panel};
use crate::observability::objectives::LATENCY_SECONDS;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-api",
        title: "dgm / API",
        description: "Rate, errors and duration of every route, what is refused, and group commit.",
        rows: vec![
            ("Routes", routes()),
            ("Refused", refused()),
            ("Group commit", writers()),
            ("Artifacts", artifacts()),
        ],
        by_service: false,
    }
}

fn routes() -> Vec<Panel> {
    vec![
        Panel::stack("Requests by route", "reqps", "Requests a second; `unmatched` are those that no route serves.")
            .ask("{{method}} {{route}}", "sum by (method, route) (rate(dgm_http_requests_total{$sel}[$__rate_interval])) > 0")
            .size(12, 10),
        Panel::lines("Latency p95 by route", "s", "Time within which 95 % of a route's requests are answered. Slow ones: the dashboard of the database says which statement.")
            .beyond(Beyond::SlowTraces)
            .ask(
                "{{method}} {{route}}",
                "histogram_quantile(0.95, sum by (method, route, le) (rate(dgm_http_request_duration_seconds_bucket{$sel}[$__rate_interval])))",
            )
            .bad(Bad::Above(LATENCY_SECONDS))
            .alerts(&["DgmLatencyBudgetBurn"])
            .size(12, 10),
        Panel::table("Routes", "none", "Requests a second over five minutes, by route, method and class of status.")
            .ask("", "sum by (route, method, status) (rate(dgm_http_requests_total{$sel}[5m])) > 0"),
        Panel::lines("Latency of all", "s", "Quantiles over all routes of the API.")
            .quantiles("dgm_http_request_duration_seconds", ", route=~\"/api/v1/.*\"")
            .bad(Bad::Above(LATENCY_SECONDS))
            .size(12, 8),
    ]
}

fn refused() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Server errors by route",
            "reqps",
            "5xx a second; 503 are among them: too many writes wait, no connection is free, or PostgreSQL is away.",
        )
        .beyond(Beyond::Errors)
        .ask(
            "{{method}} {{route}}",
            "sum by (method, route) (rate(dgm_http_requests_total{$sel, status=\"5xx\"}[$__rate_interval]))",
        )
        .alerts(&["DgmErrorBudgetBurn"]),
        Panel::lines(
            "Callers' errors by route",
            "reqps",
            "4xx a second; the problem document tells the caller what is wrong.",
        )
        .ask(
            "{{method}} {{route}}",
            "sum by (method, route) (rate(dgm_http_requests_total{$sel, status=\"4xx\"}[$__rate_interval]))",
        ),
        Panel::lines("Callers that are not known", "reqps", "Requests refused for who made them, a second.")
            .ask("{{reason}}", "sum by (reason) (rate(dgm_auth_failures_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmAuthFailures"]),
        Panel::lines(
            "Samples refused",
            "cps",
            "Samples a second that were refused; those without a partition are the service's fault.",
        )
        .ask("{{reason}}", "sum by (reason) (rate(dgm_samples_rejected_total{$sel}[$__rate_interval]))")
        .alerts(&["DgmSamplesRejected", "DgmIngestBudgetBurn"]),
        Panel::lines("Writes refused", "reqps", "Writes a second that were refused since too many waited.")
            .ask("{{writer}}", "sum by (writer) (rate(dgm_writer_refused_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmWritesRefused"]),
        Panel::lines(
            "Log events",
            "cps",
            "Log lines a second by level; what an error says is in the log, by `request_id`.",
        )
        .ask("{{level}}", "sum by (level) (rate(dgm_log_events_total{$sel}[$__rate_interval]))"),
    ]
}

fn writers() -> Vec<Panel> {
    vec![
        Panel::lines("Wait for a batch, p95", "s", "Time that a write waits until its batch starts: a commit under load, and where commits are slow a pause of up to 15 ms more, for company.")
            .ask("{{writer}}", "histogram_quantile(0.95, sum by (writer, le) (rate(dgm_writer_wait_seconds_bucket{$sel}[$__rate_interval])))"),
        Panel::lines("Commit, p95", "s", "Time from the start of a batch until it is committed.")
            .ask("{{writer}}", "histogram_quantile(0.95, sum by (writer, le) (rate(dgm_writer_commit_duration_seconds_bucket{$sel}[$__rate_interval])))"),
        Panel::lines("Rows of a batch", "none", "Mean number of rows that are committed together; it grows with the load.")
            .ask(
                "{{writer}}",
                "sum by (writer) (rate(dgm_writer_batch_rows_sum{$sel}[$__rate_interval])) / sum by (writer) (rate(dgm_writer_batch_rows_count{$sel}[$__rate_interval]))",
            ),
        Panel::lines("Waiting writes", "none", "Writes that waited when the newest one came; 8192 is the most.")
            .ask("{{writer}}", "sum by (writer) (dgm_writer_queued{$sel})")
            .bad(Bad::Above(8192.0)),
        Panel::lines("Batches split", "cps", "Batches a second that were halved to find what the database refuses.")
            .ask("{{writer}}", "sum by (writer) (rate(dgm_writer_split_total{$sel}[$__rate_interval]))"),
    ]
}

fn artifacts() -> Vec<Panel> {
    vec![
        Panel::lines("Bytes of artifacts", "Bps", "Bytes a second of files of entries that were sent (in) and fetched (out).")
            .ask("{{direction}}", "sum by (direction) (rate(dgm_artifact_bytes_total{$sel}[$__rate_interval]))"),
        Panel::lines("Artifact storage, p95", "s", "Time of a call to the storage; a write takes as long as its sender does.")
            .ask("{{call}}", "histogram_quantile(0.95, sum by (call, le) (rate(dgm_artifact_storage_duration_seconds_bucket{$sel}[$__rate_interval])))"),
        Panel::lines("Artifact storage, failures", "cps", "Calls a second that failed, and artifacts whose bytes are gone.")
            .ask("{{call}}", "sum by (call) (rate(dgm_artifact_storage_errors_total{$sel}[$__rate_interval]))")
            .ask("lost", "sum(rate(dgm_artifacts_lost_total{$sel}[$__rate_interval]))")
            .bad(Bad::Above(0.0))
            .alerts(&["DgmArtifactStorageFailing", "DgmArtifactLost"]),
        Panel::lines("Files collected", "none", "Files that were removed from the storage in a day, by why nobody needed them.")
            .ask("{{garbage}}", "sum by (garbage) (increase(dgm_artifacts_collected_total{$sel}[1d]))"),
    ]
}
