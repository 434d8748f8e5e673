use serde_json::{Value, json};

use crate::support::answer::{Answer, answer};
use crate::support::service::Service;

const TABLES: &str = "SELECT (SELECT count(*) FROM dgm_archive), (SELECT count(*) FROM dgm_improvements),
    (SELECT count(*) FROM dgm_performance_metrics), (SELECT count(*) FROM dgm_api_tokens)";

fn entry(change: &Value) -> Value {
    let mut entry = json!({"archive_entry_id": "x", "service_name": "agent", "problem_statement": "p",
        "accuracy_score": 0.5, "constitutional_compliance_score": 0.5});
    for (field, value) in change.as_object().unwrap() {
        entry[field] = value.clone();
    }
    entry
}

fn sample(change: &Value) -> Value {
    let mut sample = json!({"service_name": "agent", "metric_type": "x", "metric_value": 1});
    for (field, value) in change.as_object().unwrap() {
        sample[field] = value.clone();
    }
    sample
}

/// Everything that must be refused, with its status and kind; nothing of it may be stored.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn bad_input_is_named_and_stores_nothing() {
    let api = Service::open();
    let raw = |path: &str, body: &str, mime: &str| -> Answer {
        answer(api.request("POST", path).header("content-type", mime).body(body.to_owned()))
    };
    let json_mime = "application/json";
    let (archive, metrics, improvements) = ("/api/v1/archive", "/api/v1/metrics", "/api/v1/improvements");
    let megabyte = "x".repeat(1 << 20);

    let mut cases: Vec<(&str, Answer, u16, &str)> = vec![
        ("cut JSON", raw(archive, "{\"archive_entry_id\": ", json_mime), 400, "malformed-body"),
        ("no JSON", raw(metrics, "metric=1", json_mime), 400, "malformed-body"),
        (
            "NaN",
            raw(metrics, "{\"service_name\":\"a\",\"metric_type\":\"x\",\"metric_value\":NaN}", json_mime),
            400,
            "malformed-body",
        ),
        (
            "beyond a double",
            raw(metrics, "{\"service_name\":\"a\",\"metric_type\":\"x\",\"metric_value\":1e999}", json_mime),
            400,
            "malformed-body",
        ),
        ("no content type", raw(archive, "{}", "text/plain"), 415, "unsupported-media-type"),
        ("a form", raw(metrics, "a=1", "application/x-www-form-urlencoded"), 415, "unsupported-media-type"),
        ("oversized", raw(archive, &format!("\"{}\"", "x".repeat(17 << 20)), json_mime), 413, "body-too-large"),
        (
            "oversized samples",
            raw(metrics, &format!("[\"{}\"]", "x".repeat(17 << 20)), json_mime),
            413,
            "body-too-large",
        ),
        ("empty batch", api.post("/api/v1/archive:batch", &json!({"entries": []})), 422, "invalid-body"),
        ("no samples", api.post(metrics, &json!([])), 422, "invalid-body"),
        ("bad parameter", api.get("/api/v1/archive?limit=0"), 400, "invalid-parameter"),
        ("unknown parameter", api.get("/api/v1/archive?srvice=a"), 400, "invalid-parameter"),
        ("no object", api.get("/api/v1/archive?contains=%5B1%5D"), 400, "invalid-parameter"),
        ("bad cursor", api.get("/api/v1/archive?cursor=abc"), 400, "invalid-parameter"),
        ("NUL in a path", api.get("/api/v1/archive/a%00b"), 400, "invalid-parameter"),
        ("NUL in the path of a file", api.get("/api/v1/archive/a/artifacts/b%00"), 400, "invalid-parameter"),
        ("NUL before it", api.get("/api/v1/archive/a%00/artifacts/b"), 400, "invalid-parameter"),
        ("long id in a path", api.get(&format!("/api/v1/archive/{}", "x".repeat(300))), 400, "invalid-parameter"),
        ("NUL in a filter", api.get("/api/v1/archive?service=a%00b"), 400, "invalid-parameter"),
        ("too many points", api.get("/api/v1/metrics/a/x?from=2020-01-01T00:00:00Z&step=1s"), 400, "invalid-parameter"),
        ("a year of six digits", api.get("/api/v1/metrics/a/x?to=-262143-01-01T00:00:00Z"), 400, "invalid-parameter"),
        ("the last of them", api.get("/api/v1/metrics/a/x?from=%2B262142-12-31T00:00:00Z"), 400, "invalid-parameter"),
        ("the year 9999", api.get("/api/v1/metrics/a/x?to=9999-12-31T23:59:59-23:59"), 400, "invalid-parameter"),
        (
            "all times",
            api.get("/api/v1/metrics/a/x?from=0001-01-01T00:00:00Z&to=9998-12-31T23:59:59Z"),
            400,
            "invalid-parameter",
        ),
        ("a long step", api.get("/api/v1/metrics/a/x?step=9223372036854775807"), 400, "invalid-parameter"),
        ("no time zone", api.get("/api/v1/archive?created_after=2026-11-27T10:00:00"), 400, "invalid-parameter"),
        (
            "an unescaped plus",
            api.get("/api/v1/archive?created_after=2026-11-27T10:00:00+02:00"),
            400,
            "invalid-parameter",
        ),
        (
            "a list's year",
            api.get("/api/v1/improvements?created_before=-262143-01-01T00:00:00Z"),
            400,
            "invalid-parameter",
        ),
        ("no duration", api.get("/api/v1/metrics/a/x?step=soon"), 400, "invalid-parameter"),
        (
            "backwards",
            api.get("/api/v1/metrics/a/x?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"),
            400,
            "invalid-parameter",
        ),
        (
            "progress 101",
            api.post(
                "/api/v1/improvements/i/progress",
                &json!({"lease_token": "00000000-0000-4000-8000-000000000000", "progress": 101}),
            ),
            422,
            "invalid-body",
        ),
        ("no token", api.post("/api/v1/improvements/i/heartbeat", &json!({})), 422, "invalid-body"),
        (
            "unknown improvement",
            api.post(
                "/api/v1/improvements/i/heartbeat",
                &json!({"lease_token": "00000000-0000-4000-8000-000000000000"}),
            ),
            404,
            "not-found",
        ),
        ("empty patch", api.patch("/api/v1/archive/x", &json!({})), 422, "invalid-body"),
    ];
    for change in [
        json!({"archive_entry_id": megabyte}),
        json!({"archive_entry_id": ""}),
        json!({"archive_entry_id": "a\u{0}b"}),
        json!({"archive_entry_id": 5}),
        json!({"service_name": "x".repeat(101)}),
        json!({"service_name": null}),
        json!({"problem_statement": "a\u{0}b"}),
        json!({"solution_patch": "\u{0}"}),
        json!({"performance_metrics": {"a\u{0}": 1}}),
        json!({"evaluation_results": {"a": ["\u{0}"]}}),
        json!({"performance_metrics": [1]}),
        json!({"accuracy_score": 1.01}),
        json!({"accuracy_score": -0.01}),
        json!({"constitutional_compliance_score": 2}),
        json!({"generation_number": -1}),
        json!({"generation_number": 1_i64 << 40}),
        json!({"status": "lost"}),
        json!({"created_at": "2099-01-01T00:00:00Z"}),
        json!({"created_at": "yesterday"}),
        json!({"created_at": "-262143-01-01T00:00:00Z"}),
        json!({"created_at": "2026-11-27T10:00:00"}),
        json!({"parent_entry_id": "x"}),
        json!({"inspirations": [{"archive_entry_id": "x"}]}),
        json!({"surprise": 1}),
    ] {
        cases.push(("entry", api.post(archive, &entry(&change)), 422, "invalid-body"));
    }
    for change in [json!({"parent_entry_id": "missing"}), json!({"inspirations": [{"archive_entry_id": "missing"}]})] {
        cases.push(("entry", api.post(archive, &entry(&change)), 422, "unknown-reference"));
    }
    for change in [
        json!({"service_name": megabyte}),
        json!({"metric_type": "a\u{0}"}),
        json!({"metric_type": "current"}),
        json!({"metric_value": "1"}),
        json!({"metric_value": 1e300}),
        json!({"measurement_timestamp": "0001-01-01T00:00:00Z"}),
        json!({"measurement_timestamp": "9999-12-31T23:59:59Z"}),
        json!({"measurement_timestamp": "-262143-01-01T00:00:00Z"}),
        json!({"measurement_timestamp": "+262142-12-31T23:59:59Z"}),
        json!({"id": "00000000-0000-4000-8000-000000000000"}),
        json!({"id": "no uuid"}),
    ] {
        cases.push(("sample", api.post(metrics, &sample(&change)), 422, "invalid-body"));
    }
    for change in [
        json!({"priority": "urgent"}),
        json!({"max_improvement_time": 0}),
        json!({"max_attempts": 101}),
        json!({"problem_statement": "\u{0}"}),
    ] {
        let mut wish = json!({"improvement_id": "i", "service_name": "agent", "problem_statement": "p"});
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        cases.push(("improvement", api.post(improvements, &wish), 422, "invalid-body"));
    }
    for (what, answer, status, kind) in &cases {
        assert_eq!((answer.status, answer.problem()), (*status, *kind), "{what}: {answer:?}");
        assert_eq!(answer.body["status"], *status, "{what}: {answer:?}");
        assert!(!answer.body["detail"].as_str().unwrap().is_empty(), "{what}: {answer:?}");
    }
    assert_eq!(api.sql(TABLES), "0|0|0|0");
}
