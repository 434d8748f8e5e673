use chrono::{Months, SubsecRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::service::Service;

fn close(found: &Value, expected: f64) {
    assert!((found.as_f64().unwrap() - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn samples_are_stored_once_and_summed_up_right() {
    let api = Service::open();
    let start = Utc::now().trunc_subsecs(0) - TimeDelta::minutes(10);
    // 1..=100 in the first minute, ten times the same in the third.
    let mut samples: Vec<Value> = (1..=100)
        .map(|n| {
            json!({"service_name": "agent", "metric_type": "latency_seconds", "metric_value": n,
                "measurement_timestamp": (start + TimeDelta::milliseconds(n * 100)).to_rfc3339()})
        })
        .collect();
    for _ in 0..10 {
        samples.push(json!({"service_name": "agent", "metric_type": "latency_seconds", "metric_value": 4.5,
            "measurement_timestamp": (start + TimeDelta::seconds(150)).to_rfc3339()}));
    }
    assert_eq!(api.post("/api/v1/metrics", &json!(samples)).expect(201), json!({"accepted": 110, "duplicates": 0}));
    let known = json!({"id": "00000000-0000-4000-8000-000000000001", "service_name": "agent", "metric_type": "cost",
        "metric_value": 1.5, "measurement_timestamp": start.to_rfc3339(), "archive_entry_id": "e"});
    api.post("/api/v1/metrics", &known).expect(201);
    assert_eq!(api.post("/api/v1/metrics", &known).expect(200), json!({"accepted": 0, "duplicates": 1}));

    let query = format!(
        "/api/v1/metrics/agent/latency_seconds?from={}&to={}&step=1m",
        start.format("%Y-%m-%dT%H:%M:%SZ"),
        (start + TimeDelta::minutes(5)).format("%Y-%m-%dT%H:%M:%SZ")
    );
    let points = api.get(&query).expect(200)["points"].clone();
    assert_eq!(points.as_array().unwrap().len(), 2, "steps without samples are left out: {points}");
    // Percentiles of 1..=100 by linear interpolation: 1 + p * 99.
    for (field, expected) in
        [("count", 100.0), ("avg", 50.5), ("min", 1.0), ("max", 100.0), ("p50", 50.5), ("p95", 95.05), ("p99", 99.01)]
    {
        close(&points[0][field], expected);
    }
    assert_eq!(points[1]["count"], 10, "equal samples all count");
    close(&points[1]["p99"], 4.5);

    let current = api.get("/api/v1/metrics/agent/current").expect(200);
    assert_eq!(current["items"][0]["metric_type"], "cost");
    close(&current["items"][1]["metric_value"], 4.5);
    let newer = json!({"service_name": "agent", "metric_type": "cost", "metric_value": 2});
    api.post("/api/v1/metrics", &newer).expect(201);
    close(&api.get("/api/v1/metrics/agent/current").expect(200)["items"][0]["metric_value"], 2.0);
    let trend = api.get("/api/v1/metrics/agent/trend").expect(200);
    let count: i64 =
        trend["series"]["latency_seconds"].as_array().unwrap().iter().map(|p| p["count"].as_i64().unwrap()).sum();
    assert_eq!(count, 110);
    assert_eq!(api.get("/api/v1/metrics/nobody/current").expect(200)["items"], json!([]));
}

#[test]
fn a_month_without_partition_is_made_on_demand_and_times_out_of_the_window_are_refused() {
    let api = Service::open();
    let partitions =
        || api.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass");
    assert_eq!(partitions(), "4");
    let at = |time: chrono::DateTime<Utc>| json!({"service_name": "agent", "metric_type": "x", "metric_value": 1, "measurement_timestamp": time.to_rfc3339()});
    let now = Utc::now();
    let past = now.checked_sub_months(Months::new(6)).unwrap();
    api.post("/api/v1/metrics", &json!([at(past), at(now)])).expect(201);
    assert_eq!(partitions(), "5");
    // Retention drops a month that this process knows; the next sample makes it anew.
    let name = past.format("dgm_performance_metrics_%Y_%m").to_string();
    api.sql(&format!("DROP TABLE {name}"));
    api.post("/api/v1/metrics", &at(past)).expect(201);
    assert_eq!(api.sql(&format!("SELECT count(*) FROM {name}")), "1");

    for time in [now + TimeDelta::hours(1), now.checked_sub_months(Months::new(13)).unwrap()] {
        let refused = api.post("/api/v1/metrics", &json!([at(now), at(time)]));
        assert_eq!((refused.status, refused.problem()), (422, "invalid-body"));
        assert_eq!(refused.body["errors"][0]["pointer"], "/1/measurement_timestamp");
    }
    assert_eq!(api.sql("SELECT count(*) FROM dgm_performance_metrics"), "2", "a refused request stores nothing");
    let metrics = api.ops("/metrics").1;
    assert!(metrics.contains("dgm_samples_rejected_total{reason=\"invalid\"} 4"), "{metrics}");
}
