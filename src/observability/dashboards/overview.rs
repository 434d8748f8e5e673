//! For whoever asks whether all is well: promises, budgets, golden signals.

use crate::observability::dashboard::{Bad, Beyond, Dashboard, Panel};
use crate::observability::objectives::{CACHE_HIT_RATIO, ERRORS, LATENCY_SECONDS, LATENCY_SHARE};
use crate::observability::words::{milliseconds, percent};

const API: &str = "route=~\"/api/v1/.*\"";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-overview",
        title: "dgm / Overview",
        description: "Is all well? Promises and what is left of their budgets, traffic, errors, latency, and what is in the way.",
        rows: vec![("Now", now()), ("Objectives", objectives()), ("Golden signals", golden())],
        by_service: false,
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::figure("Instances up", "none", "Instances that Prometheus can scrape.")
            .ask("up", "sum(up{$sel})")
            .bad(Bad::Below(1.0))
            .alerts(&["DgmDown", "DgmTargetAbsent"]),
        Panel::figure("Traffic", "reqps", "Requests to the API a second.")
            .ask("requests", format!("sum(rate(dgm_http_requests_total{{$sel, {API}}}[$__rate_interval]))")),
        Panel::figure("Server errors", "percentunit", format!("Share of requests that were answered with 5xx; {} is promised.", percent(ERRORS)))
            .ask(
                "errors",
                format!(
                    "sum(rate(dgm_http_requests_total{{$sel, {API}, status=\"5xx\"}}[$__rate_interval])) \
                     / sum(rate(dgm_http_requests_total{{$sel, {API}}}[$__rate_interval]))"
                ),
            )
            .bad(Bad::Above(ERRORS))
            .alerts(&["DgmErrorBudgetBurn"]),
        Panel::figure("Latency p95", "s", format!("Time within which {} of the requests are answered; {} is promised.", percent(LATENCY_SHARE), milliseconds(LATENCY_SECONDS)))
            .ask(
                "p95",
                format!(
                    "histogram_quantile({LATENCY_SHARE}, sum by (le) (rate(dgm_http_request_duration_seconds_bucket{{$sel, {API}}}[$__rate_interval])))"
                ),
            )
            .bad(Bad::Above(LATENCY_SECONDS))
            .alerts(&["DgmLatencyBudgetBurn"]),
        Panel::figure("Cache hit rate", "percentunit", format!("Share of lookups that a tier answered; {} is promised.", percent(CACHE_HIT_RATIO)))
            .ask("hits", "1 - avg(dgm:slo_errors:ratio_rate5m{job=~\"$job\", slo=\"cache\"})")
            .bad(Bad::Below(CACHE_HIT_RATIO))
            .alerts(&["DgmCacheHitRateLow"]),
        Panel::figure("Partitions ahead", "s", "Time until samples would find no partition.")
            .ask("ahead", "min(dgm_partition_horizon_timestamp_seconds{$sel}) - time()")
            .bad(Bad::Below(5_184_000.0))
            .alerts(&["DgmPartitionHorizonLow"]),
        Panel::table("Alerts that fire", "none", "What Prometheus says is wrong, by severity; empty is good.")
            .ask("", "sum by (alertname, severity, team) (ALERTS{alertstate=\"firing\", alertname=~\"Dgm.*\"})")
            .size(16, 6),
        Panel::table("Versions", "none", "What runs: one line for each version; two during a rollout.")
            .ask("", "count by (version, revision, rustc) (dgm_build_info{$sel})")
            .size(8, 6)
            .alerts(&["DgmRestarting"]),
    ]
}

fn objectives() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Burn rate, 1 h",
            "none",
            "How many times too fast each objective's error budget is used: 1 uses it up in 30 days, 14.4 in two.",
        )
        .ask(
            "{{slo}}",
            "dgm:slo_errors:ratio_rate1h{job=~\"$job\"} / on (slo) group_left () (1 - dgm:slo_target:ratio)",
        )
        .bad(Bad::Above(14.4))
        .alerts(&[
            "DgmErrorBudgetBurn",
            "DgmLatencyBudgetBurn",
            "DgmIngestBudgetBurn",
            "DgmCacheBudgetBurn",
            "DgmSloMetricAbsent",
        ]),
        Panel::lines("Burn rate, 6 h", "none", "The same over six hours: what does not pass by itself.")
            .ask(
                "{{slo}}",
                "dgm:slo_errors:ratio_rate6h{job=~\"$job\"} / on (slo) group_left () (1 - dgm:slo_target:ratio)",
            )
            .bad(Bad::Above(6.0)),
        Panel::lines(
            "Budget left, 3 d",
            "percentunit",
            "Share of the error budget of three days that is left; below 0 the promise is broken.",
        )
        .ask(
            "{{slo}}",
            "1 - dgm:slo_errors:ratio_rate3d{job=~\"$job\"} / on (slo) group_left () (1 - dgm:slo_target:ratio)",
        )
        .bad(Bad::Below(0.0)),
        Panel::lines("Good events", "percentunit", "Share of good events of each objective over five minutes.")
            .ask("{{slo}}", "1 - dgm:slo_errors:ratio_rate5m{job=~\"$job\"}")
            .size(12, 8),
        Panel::lines("Events", "cps", "Events a second of each objective; alerts need some traffic.")
            .ask("{{slo}}", "dgm:slo_events:rate5m{job=~\"$job\"}")
            .size(12, 8),
    ]
}

fn golden() -> Vec<Panel> {
    vec![
        Panel::stack("Traffic by status", "reqps", "Requests to the API a second, by class of status.")
            .beyond(Beyond::Errors)
            .ask("{{status}}", format!("sum by (status) (rate(dgm_http_requests_total{{$sel, {API}}}[$__rate_interval]))")),
        Panel::lines("Latency", "s", "Time from the head of a request to the head of its answer.")
            .beyond(Beyond::SlowTraces)
            .quantiles("dgm_http_request_duration_seconds", ", route=~\"/api/v1/.*\"")
            .bad(Bad::Above(LATENCY_SECONDS)),
        Panel::lines("Saturation", "percentunit", "How much of what is limited is in use: connections of each pool, processors of the runtime, descriptors.")
            .ask("{{pool}} {{instance}}", "sum by (instance, pool) (dgm_db_pool_connections{$sel, state=\"used\"}) / sum by (instance, pool) (dgm_db_pool_connections_max{$sel})")
            .ask("runtime {{instance}}", "sum by (instance) (rate(dgm_runtime_busy_seconds_total{$sel}[$__rate_interval])) / sum by (instance) (dgm_runtime_workers{$sel})")
            .ask("files {{instance}}", "sum by (instance) (process_open_fds{$sel}) / sum by (instance) (process_max_fds{$sel})")
            .bad(Bad::Above(0.9)),
        Panel::lines("Samples and improvements", "cps", "What loops do: samples stored, improvements handed out and ended.")
            .ask("samples", "sum(rate(dgm_samples_ingested_total{$sel}[$__rate_interval]))")
            .ask("claimed", "sum(rate(dgm_improvements_claimed_total{$sel}[$__rate_interval]))")
            .ask("{{outcome}}", "sum by (outcome) (rate(dgm_improvements_finished_total{$sel}[$__rate_interval]))")
            .size(6, 8),
        Panel::lines("Parts that answer", "bool_yes_no", "1 while PostgreSQL and Redis answer each instance.")
            .ask("PostgreSQL {{instance}}", "dgm_db_up{$sel}")
            .ask("Redis {{instance}}", "dgm_cache_redis_up{$sel}")
            .alerts(&["DgmPostgresDown", "DgmRedisDown"])
            .size(6, 8),
        Panel::lines("In flight", "none", "Requests that are being answered, by instance.")
            .ask("{{instance}}", "sum by (instance) (dgm_http_requests_in_flight{$sel})")
            .size(6, 8),
        Panel::lines("Connections of callers", "none", "Connections to the API that are open, by instance, and event streams that wait. Many compared with those in flight are idle, or event streams.")
            .ask("{{instance}}", "sum by (instance) (dgm_http_connections{$sel})")
            .ask("streams {{instance}}", "sum by (instance) (dgm_hub_subscriptions{$sel})")
            .size(6, 8),
    ]
}
