use serde_json::{Value, json};

use super::*;

const FIRST: &str = r#"# HELP dgm_http_requests_total Requests.
dgm_http_requests_total{route="/api/v1/archive",method="GET",status="2xx"} 100
dgm_http_requests_total{route="/metrics",method="GET",status="2xx"} 5
dgm_job_runs_total{job_name="prune-changes",outcome="skipped"} 3
"#;

const SECOND: &str = r#"
process_start_time_seconds 1700000000.25
dgm_build_info{version="1.2.3",revision="abc",rustc="rustc 1.95.0 (x 2026-01-01)"} 1
dgm_http_requests_in_flight 3
dgm_http_requests_total{route="/api/v1/archive",method="GET",status="2xx"} 130
dgm_http_requests_total{route="/api/v1/archive",method="POST",status="4xx"} 6
dgm_http_requests_total{route="/api/v1/archive",method="POST",status="5xx"} 4
dgm_http_requests_total{route="/metrics",method="GET",status="5xx"} 50
dgm_http_request_duration_seconds_bucket{route="/api/v1/archive",method="GET",le="0.1"} 30
dgm_http_request_duration_seconds_bucket{route="/api/v1/archive",method="GET",le="+Inf"} 30
dgm_http_request_duration_seconds_bucket{route="/api/v1/archive",method="POST",le="0.1"} 0
dgm_http_request_duration_seconds_bucket{route="/api/v1/archive",method="POST",le="+Inf"} 10
dgm_db_pool_connections_max{pool="read"} 10
dgm_db_pool_connections_max{pool="write"} 4
dgm_db_pool_connections{pool="read",state="used"} 2
dgm_db_pool_connections{pool="write",state="used"} 4
dgm_db_statement_duration_seconds_bucket{statement="archive_get",le="+Inf"} 4
dgm_db_statement_duration_seconds_sum{statement="archive_get"} 2
dgm_db_statement_duration_seconds_bucket{statement="archive_list",le="+Inf"} 1
dgm_db_statement_duration_seconds_sum{statement="archive_list"} 6
dgm_cache_requests_total{class="entry",tier="l1",result="hit"} 60
dgm_cache_requests_total{class="entry",tier="l1",result="miss"} 40
dgm_cache_requests_total{class="entry",tier="l2",result="hit"} 10
dgm_cache_requests_total{class="entry",tier="l2",result="miss"} 30
dgm_cache_redis_up 0
dgm_cache_confirmed_age_seconds 5
dgm_partition_horizon_timestamp_seconds{table="dgm_performance_metrics"} 1700864000
dgm_partition_oldest_timestamp_seconds{table="dgm_performance_metrics"} 0
dgm_improvements{state="queued",priority="low"} 2
dgm_improvements{state="queued",priority="high"} 3
dgm_improvements_oldest_queued_timestamp_seconds 1699999990
dgm_leases_rescued_total{outcome="requeued"} 7
dgm_job_runs_total{job_name="prune-changes",outcome="skipped"} 4
dgm_job_runs_total{job_name="warm-cache",outcome="success"} 1
dgm_job_last_success_timestamp_seconds{job_name="prune-changes"} 1699990000
dgm_job_last_success_timestamp_seconds{job_name="warm-cache"} 1699990000
dgm_job_interval_seconds{job_name="prune-changes"} 60
dgm_job_interval_seconds{job_name="warm-cache"} 60
"#;

fn watched(scrapes: &[(u64, &str)]) -> Watched {
    let start = Instant::now();
    let mut watched = Watched { history: History::new(WINDOW), since: start, elsewhere: BTreeMap::new() };
    for (at, text) in scrapes {
        watched.add(text, start + Duration::from_secs(*at));
    }
    watched
}

fn document(watched: &Watched, readiness: &Readiness) -> Value {
    serde_json::to_value(watched.document(readiness, DateTime::from_timestamp(1_700_000_000, 0).unwrap())).unwrap()
}

#[test]
fn before_the_second_sample_nothing_is_judged() {
    let first = document(&watched(&[(0, FIRST)]), &Readiness { schema_version: Some(3), ..Readiness::default() });
    assert_eq!((&first["state"], &first["schema_version"], &first["seconds"]), (&json!("ok"), &json!(3), &json!(null)));
    assert_eq!(first["signals"]["errors"]["target"], json!({"mark": null, "text": "target: under 0.1 %"}));
    assert_eq!(first["signals"]["saturation"]["pool"], json!(null));
    assert_eq!((&first["routes"], &first["statements"], &first["build"]), (&json!([]), &json!([]), &json!({})));
}

#[test]
fn every_part_is_computed() {
    let unready = Readiness { unready: Some("the database cannot be asked".to_owned()), ..Readiness::default() };
    let it = document(&watched(&[(0, FIRST), (2, SECOND)]), &unready);
    assert_eq!(it["state"], "failing");
    let reasons = [
        "Not ready: the database cannot be asked.",
        "More than 5 % of requests fail.",
        "Redis does not answer: reads are slower, and still correct.",
        "The change feed is not confirmed: the cache is passed by.",
        "Partitions are made for less than 28 days ahead.",
        "No success in time of job warm-cache.",
    ];
    // The p95 is the last edge of these buckets, which is the limit.
    assert_eq!(it["reasons"], json!(reasons));
    assert_eq!((&it["seconds"], &it["longest"], &it["started"]), (&json!(2.0), &json!(10.0), &json!(1_700_000_000.25)));
    let signals = &it["signals"];
    let traffic = json!({"point": 20.0, "rate": 20.0, "requests": 40.0, "refused": 0.15});
    assert_eq!(signals["traffic"], traffic);
    let errors = json!({"point": 0.1, "share": 0.1, "failed": 4.0, "requests": 40.0, "target": {"mark": "bad", "text": "over 0.1 %"}});
    assert_eq!(signals["errors"], errors);
    let latency = json!({"point": 0.1, "p50": 0.1 * 20.0 / 30.0, "p95": 0.1, "p99": 0.1, "bound": 0.1,
        "target": {"mark": "ok", "text": "under 100 ms"}});
    assert_eq!(signals["latency"], latency);
    let saturation = json!({"point": 1.0, "pool": {"name": "write", "used": 4.0, "most": 4.0}, "in_flight": 2.0, "wait": null,
        "target": {"mark": "bad", "text": "write: none to spare"}});
    assert_eq!(signals["saturation"], saturation);
    let routes = json!([
        {"method": "GET", "route": "/api/v1/archive", "rate": 15.0, "p95": 0.095, "slow": null, "refused": 0.0, "failed": 0.0},
        {"method": "POST", "route": "/api/v1/archive", "rate": 5.0, "p95": 0.1, "slow": null, "refused": 0.6, "failed": 0.4},
    ]);
    assert_eq!(it["routes"], routes);
    let names: Vec<_> =
        it["statements"].as_array().unwrap().iter().map(|one| (&one["name"], &one["busy"], &one["mean"])).collect();
    let (list, get) = (json!("archive_list"), json!("archive_get"));
    assert_eq!(names, [(&list, &json!(3.0), &json!(6.0)), (&get, &json!(1.0), &json!(0.5))]);
    let tiers = json!([
        {"name": "in process", "hits": 0.6, "rate": 50.0},
        {"name": "Redis", "hits": 0.25, "rate": 20.0},
        {"name": "together", "hits": 0.7, "rate": 50.0},
    ]);
    assert_eq!(it["cache"]["tiers"], tiers);
    assert_eq!(it["cache"]["hit_rate"], json!({"mark": "bad", "text": "under 80 %"}));
    assert_eq!((&it["cache"]["redis_up"], &it["cache"]["feed"]), (&json!(false), &json!("bad")));
    let partitions = &it["partitions"];
    assert_eq!((&partitions["horizon_days"], &partitions["horizon_mark"]), (&json!(10.0), &json!("warn")));
    assert_eq!((&partitions["oldest"], &partitions["attached"]), (&json!(null), &json!(null)));
    let queue = &it["queue"];
    assert_eq!((&queue["queued"], &queue["oldest"], &queue["running"]), (&json!(5.0), &json!(10.0), &json!(null)));
    assert_eq!(queue["rescued"], json!({"requeued": 7.0}));
    let states: Vec<_> =
        it["jobs"].as_array().unwrap().iter().map(|job| (&job["name"], &job["state"]["text"])).collect();
    let jobs = json!([["prune-changes", "by another replica"], ["warm-cache", "stale"]]);
    assert_eq!(json!(states), jobs);
    assert_eq!(it["build"]["version"], "1.2.3");
}

#[test]
fn all_who_ask_within_a_second_see_one_sample() {
    let status = Status::default();
    assert_eq!(status.sample(|| None), None);
    assert_eq!(status.sample(|| Some(FIRST.to_owned())), Some(()));
    assert_eq!(status.sample(|| panic!("sampled again")), Some(()));
}
