//! What a refusal says about input that encoders of other languages write: the reason, the place, and what to send instead.

use serde_json::{Value, json};

use crate::support::answer::{Answer, answer};
use crate::support::service::Service;

fn check(what: &str, answer: &Answer, expected: (u16, &str), pointer: &str, words: &str) {
    assert_eq!((answer.status, answer.problem()), expected, "{what}: {answer:?}");
    let fault = &answer.body["errors"][0];
    assert_eq!(fault["pointer"], pointer, "{what}: {answer:?}");
    for text in [&answer.body["detail"], &fault["detail"]] {
        assert!(text.as_str().unwrap().contains(words), "{what}: {words:?} is not in {text}");
    }
}

#[test]
fn what_is_not_json_is_explained() {
    let api = Service::open();
    let post = |path: &str, body: &[u8]| {
        answer(api.request("POST", path).header("content-type", "application/json").body(body.to_vec()))
    };
    let entry = |fields: &str| {
        let rest =
            r#""service_name":"s","problem_statement":"p","accuracy_score":0.5,"constitutional_compliance_score":0.5"#;
        format!("{{{fields},{rest}}}").into_bytes()
    };
    let sample =
        |value: &str| format!(r#"{{"service_name":"s","metric_type":"m","metric_value":{value}}}"#).into_bytes();
    let batch = [b"[".to_vec(), sample("1"), b",\n".to_vec(), sample("NaN"), b"]".to_vec()].concat();
    let mark = |mark: &[u8]| [mark.to_vec(), sample("1")].concat();
    let (archive, metrics) = ("/api/v1/archive", "/api/v1/metrics");
    let no_number = "is not a number of JSON: send a finite number";
    let half = "half of a surrogate pair, which is not a character: send both halves";
    for (path, body, pointer, words) in [
        (metrics, sample("NaN"), "/metric_value", no_number),
        (metrics, sample("Infinity"), "/metric_value", no_number),
        (metrics, sample("-Infinity"), "/metric_value", no_number),
        (metrics, sample("nan"), "/metric_value", no_number),
        (metrics, sample("1e999"), "/metric_value", "1e999 is beyond the range of a double"),
        (metrics, batch, "/1/metric_value", no_number),
        (archive, entry(r#""performance_metrics":{"a":{"b":[1,NaN]}}"#), "/performance_metrics/a/b/1", no_number),
        (archive, entry(r#""solution_patch":"\ud800""#), "/solution_patch", half),
        (archive, entry(r#""solution_patch":"\udc00 and more""#), "/solution_patch", half),
        (archive, entry(r#""evaluation_results":{"log":"\ud83d\n"}"#), "/evaluation_results/log", half),
        (metrics, mark(b"\xef\xbb\xbf"), "", "byte-order mark of UTF-8: send UTF-8 without one"),
        (metrics, mark(b"\xff\xfe"), "", "byte-order mark of UTF-16: send UTF-8 without one"),
        (archive, mark(b"\xfe\xff"), "", "byte-order mark of UTF-16: send UTF-8 without one"),
    ] {
        let what = String::from_utf8_lossy(&body).into_owned();
        check(&what, &post(path, &body), (400, "malformed-body"), pointer, words);
    }
    let latin =
        [b"{\"service_name\":\"caf\xe9\"".to_vec(), b",\"metric_type\":\"m\",\"metric_value\":1}".to_vec()].concat();
    check("Latin-1", &post(metrics, &latin), (400, "malformed-body"), "/service_name", "not UTF-8: encode it as UTF-8");
    assert_eq!(
        api.sql("SELECT (SELECT count(*) FROM dgm_archive) + (SELECT count(*) FROM dgm_performance_metrics)"),
        "0"
    );
}

#[test]
fn times_and_numbers_in_a_url_are_explained() {
    let api = Service::open();
    for (url, name, words) in [
        ("archive?created_after=2026-11-27T10:00:00", "created_after", "has no time zone: append Z for UTC"),
        ("improvements?created_before=2026-11-27%2010:00:00", "created_before", "has no time zone: append Z for UTC"),
        ("metrics/a/x?from=2026-11-27T10:00:00.25", "from", "has no time zone: append Z for UTC"),
        ("archive?created_after=2026-11-27T10:00:00+02:00", "created_after", "a + in a URL means a space: write %2B"),
        (
            "improvements?created_after=2026-11-27T10:00:00+0200",
            "created_after",
            "a + in a URL means a space: write %2B",
        ),
        ("metrics/a/x?to=2026-11-27T10:00:00+00:00", "to", "a + in a URL means a space: write %2B"),
        ("archive?contains=%7B%22a%22:NaN%7D", "contains", "NaN is not a number of JSON: send a finite number"),
        ("archive?contains=%7B%22a%22:%22%5Cud800%22%7D", "contains", "half of a surrogate pair"),
        ("archive?min_accuracy=high", "min_accuracy", "invalid float literal"),
        ("archive?min_accuracy=NaN", "min_accuracy", "is not a finite number: send one in 0..1"),
        ("archive?max_accuracy=-Infinity", "max_accuracy", "is not a finite number: send one in 0..1"),
        ("archive?min_compliance=inf", "min_compliance", "is not a finite number: send one in 0..1"),
        ("archive?limit=-1", "limit", "invalid digit found in string"),
    ] {
        check(url, &api.get(&format!("/api/v1/{url}")), (400, "invalid-parameter"), name, words);
    }
    assert_eq!(api.get("/api/v1/archive?created_after=2026-11-27T10:00:00.5%2B0000").status, 200);
}

#[test]
fn times_without_a_zone_in_a_body_are_explained() {
    let api = Service::open();
    let naive = "2026-11-27T10:00:00";
    let entry = json!({"service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 0.5, "created_at": naive});
    let sample = json!({"service_name": "s", "metric_type": "m", "metric_value": 1, "measurement_timestamp": naive});
    let token = json!({"name": "t", "role": "reader", "expires_at": naive});
    for (path, body, pointer) in [
        ("/api/v1/archive", &entry, "/created_at"),
        ("/api/v1/archive:batch", &json!({"entries": [entry]}), "/entries/0/created_at"),
        ("/api/v1/metrics", &sample, "/measurement_timestamp"),
        ("/api/v1/metrics", &Value::from(vec![sample.clone()]), "/0/measurement_timestamp"),
        ("/api/v1/admin/tokens", &token, "/expires_at"),
    ] {
        check(path, &api.post(path, body), (422, "invalid-body"), pointer, "has no time zone: append Z for UTC");
    }
}
