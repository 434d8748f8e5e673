//! Every query that operators load, asked of a Prometheus that has watched the service at work.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dgm_service::observability::dashboard::{SERVICES, Source};
use dgm_service::observability::{dashboards, reference, slo};
use serde_json::json;

use super::promql::selectors;
use super::runbooks;
use super::stack::Monitoring;
use crate::support::redis::Logical;
use crate::support::serve::Serve;
use crate::support::wire::Wire;
use crate::support::{Database, PATIENCE, Stopper, setting};

/// Times of the rules are a thirtieth; a scrape every second.
const PACE: f64 = 0.03;

/// Panels that may be empty, and why.
const EMPTY: &[(&str, &str)] = &[
    ("dgm-overview: Alerts that fire", "nothing is wrong"),
    ("dgm-database: Since the last archived segment", "nothing is archived"),
    ("dgm-database: Standbys", "there is no standby, whose lag is not known then, and no replica of reads"),
];

/// Series that are not there on a service that is well, and why.
const ABSENT: &[(&str, &str)] = &[
    ("certmanager_certificate_expiration_timestamp_seconds", "cert-manager's"),
    ("dgm_db_replica_lag_seconds", "no replica of reads is configured"),
    ("kubelet_volume_stats_available_bytes", "the kubelet's"),
    ("kubelet_volume_stats_capacity_bytes", "the kubelet's"),
];

/// Counters of what need not happen on a service that is well; other tests make it happen.
const QUIET: &[&str] = &[
    "dgm_artifact_storage_errors_total",
    "dgm_artifacts_collected_total",
    "dgm_artifacts_lost_total",
    "dgm_auth_failures_total",
    "dgm_cache_bypassed_total",
    "dgm_cache_coalesced_total",
    "dgm_cache_redis_write_failures_total",
    "dgm_cache_refused_total",
    "dgm_db_errors_total",
    "dgm_db_pool_timeouts_total",
    "dgm_db_server_deadlocks_total",
    "dgm_db_server_temporary_bytes_total",
    "dgm_db_statement_errors_total",
    "dgm_db_transaction_retries_total",
    "dgm_db_wal_segments_archived_total",
    "dgm_hub_notifications_total",
    "dgm_job_missed_total",
    "dgm_leases_rescued_total",
    "dgm_log_failures_total",
    "dgm_panics_total",
    "dgm_partition_drop_failures_total",
    "dgm_partitions_dropped_total",
    "dgm_partitions_exported_bytes_total",
    "dgm_partitions_exported_total",
    "dgm_redis_evicted_total",
    "dgm_redis_expired_total",
    "dgm_redis_rejected_connections_total",
    "dgm_samples_rejected_total",
    "dgm_trace_spans_total",
    "dgm_writer_refused_total",
    "dgm_writer_split_total",
];

/// What loops, workers, researchers and dashboards do, until it is told to stop; some requests are wrong on purpose.
/// Without workers, nothing is claimed.
pub(super) fn load(api: &str, token: &str, stop: &AtomicBool, pause: Duration, workers: bool) {
    let mut wire = Wire::connect(api, token).unwrap();
    let entry = |n: u32| {
        json!({"archive_entry_id": format!("e{n}"), "service_name": "lineage", "problem_statement": "p",
        "generation_number": n, "accuracy_score": 0.1 + f64::from(n % 80) / 100.0, "constitutional_compliance_score": 0.9,
        "performance_metrics": {}})
    };
    let _ = wire.call("POST", "/api/v1/archive", &entry(0));
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let mut child = entry(n);
        // No line is so long that to walk it takes time.
        child["parent_entry_id"] = json!(format!("e{}", if n % 50 == 0 { 0 } else { n - 1 }));
        child.as_object_mut().unwrap().remove("generation_number");
        let sample = json!({"service_name": "lineage", "metric_type": "latency_ms", "metric_value": n, "measurement_timestamp":
            chrono::Utc::now()});
        let improvement =
            json!({"improvement_id": format!("i{n}"), "service_name": "lineage", "problem_statement": "p"});
        let mut calls = vec![
            ("POST", "/api/v1/archive".to_owned(), child),
            ("POST", "/api/v1/metrics".to_owned(), sample),
            ("POST", "/api/v1/improvements".to_owned(), improvement),
            ("PATCH", format!("/api/v1/archive/e{}", n / 2), json!({"accuracy_score": 0.5})),
            ("POST", "/api/v1/archive:select-parents".to_owned(), json!({"service_name": "lineage"})),
            ("POST", "/api/v1/archive".to_owned(), json!({"archive_entry_id": 1})),
        ];
        if n % 20 == 0 {
            calls.push(("POST", "/api/v1/archive:batch".to_owned(), json!({"entries": []})));
        }
        for (method, path, body) in &calls {
            if wire.call(method, path, body).is_err() {
                std::thread::sleep(Duration::from_millis(100));
                let Ok(again) = Wire::connect(api, token) else { continue };
                wire = again;
            }
        }
        if workers
            && let Ok(claimed) = wire.call("POST", "/api/v1/improvements:claim", &json!({"worker": "w", "max": 1}))
            && claimed.status == 200
        {
            for item in claimed.json()["items"].as_array().unwrap() {
                let id = item["improvement_id"].as_str().unwrap();
                let done = json!({"lease_token": item["lease_token"], "archive_entry": {"accuracy_score": 0.5,
                    "constitutional_compliance_score": 1}});
                let _ = wire.call("POST", &format!("/api/v1/improvements/{id}/complete"), &done);
            }
        }
        let paths: Vec<String> = (0..20)
            .map(|k| format!("/api/v1/archive/e{}", (n * 7 + k) % n.min(50)))
            .chain([
                "/api/v1/archive?service=lineage&sort=accuracy".to_owned(),
                "/api/v1/archive/stats?service=lineage".to_owned(),
                "/api/v1/metrics/lineage/current".to_owned(),
                "/api/v1/metrics/lineage/trend".to_owned(),
                format!("/api/v1/archive/e{n}/lineage"),
                "/api/v1/nothing".to_owned(),
            ])
            .collect();
        let _ = wire.get_all(paths.iter().map(String::as_str), |_, _| ());
        std::thread::sleep(pause);
    }
}

/// Gives an entry files and fetches them.
fn keep_files(serve: &Serve, stop: &AtomicBool) {
    let path = "/api/v1/archive/e0/artifacts/evaluation.log";
    while !stop.load(Ordering::Relaxed) {
        for text in ["a log", "another log"] {
            let _ = serve.request("PUT", path).body(text).send();
            let _ = serve.request("GET", path).send().and_then(reqwest::blocking::Response::text);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Follows improvements to their ends.
fn follow(serve: &Serve, stop: &AtomicBool) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let path = format!("/api/v1/improvements/followed-{n}");
        let new =
            json!({"improvement_id": format!("followed-{n}"), "service_name": "lineage", "problem_statement": "p"});
        let _ = serve.request("POST", "/api/v1/improvements").json(&new).send();
        let stream = serve.request("GET", &format!("{path}/events")).send();
        // Long enough that the stream waits.
        std::thread::sleep(Duration::from_millis(100));
        let _ = serve.request("POST", &format!("{path}/cancel")).json(&json!({})).send();
        let _ = stream.and_then(reqwest::blocking::Response::text);
    }
}

/// As Grafana would, for all jobs and instances.
fn chosen(expr: &str) -> String {
    expr.replace("=\"$job\"", "=\"dgm\"")
        .replace("$job", ".+")
        .replace("$instance", ".+")
        .replace("$__rate_interval", "15s")
        .replace("$(5m)", "9")
        .replace("$(1h)", "108")
}

#[test]
fn every_query_finds_data_on_a_service_at_work() {
    let seconds = setting("DGM_TEST_LIVE_SECONDS", 8);
    let database =
        Database::own("pg_stat_statements is preloaded", &[("shared_preload_libraries", "pg_stat_statements")]);
    database.sql("CREATE EXTENSION pg_stat_statements");
    let began = (chrono::Utc::now() - chrono::TimeDelta::minutes(5)).to_rfc3339();
    for job in ["backup", "restore-drill"] {
        let reported = database.dgm(&["job", "report", job, "--started", &began, "--outcome", "ok"]);
        assert!(reported.status.success(), "{reported:?}");
    }
    let redis = Logical::new();
    let (exports, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A folder is a volume that is watched.
    let settings = [("DGM__SAMPLES__EXPORT_URL", &exports), ("DGM__ARTIFACTS__URL", &files)]
        .map(|(name, folder)| (name, format!("file://{}", folder.path().display())));
    let data = database.directory().join("pgdata").display().to_string();
    let [exports, files] = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let settings = [exports, files, ("DGM__DATABASE__DATA_DIRECTORY", data.as_str())];
    let initialised = database.dgm(&["files", "init", "--purpose", "exports", settings[0].1]);
    assert!(initialised.status.success(), "{initialised:?}");
    let mut serve = Serve::start_with(&database, &redis.url(), &settings);
    serve.token = database.token("operator");
    let monitoring = Monitoring::start(&serve.ops, PACE);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopper = Stopper(&stop);
        scope.spawn(|| load(&serve.api, &serve.token, &stop, Duration::from_millis(20), true));
        scope.spawn(|| keep_files(&serve, &stop));
        scope.spawn(|| follow(&serve, &stop));
        std::thread::sleep(Duration::from_secs(seconds as u64));
        // Some of it takes longer on a busy machine.
        let mut faults = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            faults.clear();
            faults.extend(panels(&monitoring));
            faults.extend(rules(&monitoring));
            faults.extend(sql(&database));
            faults.extend(catalogue(&serve));
            faults.extend(promtool(&serve));
            if faults.is_empty() || Instant::now() > deadline {
                break;
            }
        }
        faults.extend(runbooks::promql(&monitoring));
        faults.extend(runbooks::statements(&database));
        faults.extend(runbooks::on_a_machine(&serve, &database, &redis.url(), &monitoring));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    });
}

fn panels(monitoring: &Monitoring) -> Vec<String> {
    let mut faults = Vec::new();
    let mut asked = 0;
    for dashboard in dashboards::all() {
        for panel in dashboard.panels().filter(|panel| panel.source == Source::Prometheus) {
            let place = format!("{}: {}", dashboard.uid, panel.title);
            let may_be_empty = EMPTY.iter().any(|(name, _)| *name == place);
            for query in &panel.queries {
                let expr = chosen(&query.promql());
                let found = monitoring.query(&expr);
                asked += 1;
                if found.is_empty() && !may_be_empty {
                    faults.push(format!("{place}: no data: {expr}"));
                }
                for label in
                    query.legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label)
                {
                    if found.iter().any(|series| series["metric"][label].is_null()) {
                        faults.push(format!("{place}: a series without {label}: {expr}"));
                    }
                }
                // A statement that does not run has no quantile; all of them must not be like that.
                if !found.is_empty() && found.iter().all(|series| series["value"][1] == "NaN") {
                    faults.push(format!("{place}: NaN: {expr}"));
                }
            }
        }
    }
    assert!(asked > 100, "{asked} queries of panels");
    eprintln!("{asked} queries of panels have data");
    faults
}

/// Every rule is evaluated; what a recording rule records is there, and so is every series that an alert looks at.
fn rules(monitoring: &Monitoring) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, health, error) in monitoring.rules() {
        if health != "ok" {
            faults.push(format!("{name} is {health}: {error}"));
        }
    }
    for rule in slo::recordings() {
        let series = format!("{}{{slo=\"{}\"}}", rule.record, rule.labels[0].1);
        if monitoring.query(&series).is_empty() {
            faults.push(format!("nothing is recorded: {series}"));
        }
    }
    for (place, expr) in super::consistency::expressions() {
        for selector in selectors(&chosen(&expr)) {
            let known = ABSENT.iter().any(|(metric, _)| *metric == selector.metric);
            let series = format!("{}{{{}}}", selector.metric, selector.matchers);
            if !known && monitoring.query(&format!("count({series})")).is_empty() {
                faults.push(format!("{place}: no series {series}"));
            }
        }
    }
    faults
}

/// Panels that ask PostgreSQL, by the role that reads.
fn sql(database: &Database) -> Vec<String> {
    let mut faults = Vec::new();
    let queries = dashboards::all().into_iter().flat_map(|dashboard| {
        let sql = |panel: &dgm_service::observability::dashboard::Panel| (panel.title, panel.queries[0].expr.clone());
        dashboard.panels().filter(|panel| panel.source == Source::Postgres).map(sql).collect::<Vec<_>>()
    });
    let mut asked = 0;
    for (title, query) in queries.chain([("services", SERVICES.to_owned())]) {
        asked += 1;
        if database.sql(&query.replace("$service", "lineage")).is_empty() {
            faults.push(format!("{title}: no rows: {query}"));
        }
    }
    assert!(asked > 5);
    faults
}

/// What is scraped is what the catalogue has, no more and no less; and what counts has counted.
fn catalogue(serve: &Serve) -> Vec<String> {
    let text = serve.metrics();
    let mut faults = Vec::new();
    for entry in reference::entries().iter().filter(|entry| entry.kind == "counter") {
        let series =
            text.lines().filter(|line| line.strip_prefix(entry.name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let counts = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).any(|value| value > 0.0);
        if !counts && !QUIET.contains(&entry.name) {
            faults.push(format!("{} counts nothing", entry.name));
        }
    }
    let typed = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect()
    };
    let (scraped, described) = (typed(&text), typed(&reference::metadata()));
    let absent = |line: &&String| !ABSENT.iter().any(|(metric, _)| line.starts_with(metric));
    faults.extend(described.difference(&scraped).filter(absent).map(|line| format!("not scraped: {line}")));
    faults.extend(scraped.difference(&described).map(|line| format!("not in the catalogue: {line}")));
    faults
}

fn promtool(serve: &Serve) -> Vec<String> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(serve.metrics().as_bytes()).unwrap();
    let verdict = child.wait_with_output().unwrap();
    let words = [verdict.stdout, verdict.stderr].concat();
    String::from_utf8_lossy(&words).lines().map(|line| format!("promtool: {line}")).collect()
}
