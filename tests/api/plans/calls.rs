//! Calls that between them run every statement, as loops, researchers and dashboards make them.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::answer::answer;
use crate::support::serve::Serve;

/// The id of the `n`th entry that tests/fill/archive.sql makes.
fn entry(n: usize) -> String {
    format!("00000000-0000-7000-8000-{n:012}")
}

pub(super) fn all(serve: &Serve, round: usize, entries: usize) {
    archive(serve, round, entries);
    lists(serve, round);
    improvements(serve, round, entries);
    artifacts(serve, round);
    samples(serve, round);
    identity(serve, round);
}

fn get(serve: &Serve, path: &str) -> Value {
    serve.call("GET", path, None).expect(200)
}

fn post(serve: &Serve, path: &str, body: &Value) -> Value {
    let answer = serve.call("POST", path, Some(body));
    assert!(answer.status < 300, "{path}: {answer:?}");
    answer.body
}

fn archive(serve: &Serve, round: usize, entries: usize) {
    let some = entry(entries / 2 + round);
    for verb in ["", "/lineage", "/children", "/descendants?limit=1000"] {
        get(serve, &format!("/api/v1/archive/{some}{verb}"));
    }
    // The root of the largest lineage, with the most children.
    get(serve, &format!("/api/v1/archive/{}/children", entry(0)));
    get(serve, &format!("/api/v1/archive/{}/descendants?limit=1000", entry(0)));
    // Others, so that the answer is not from the cache.
    get(serve, &format!("/api/v1/archive/stats?service=service-{round:02}"));
    get(serve, &format!("/api/v1/archive/stats?service=nobody-{round}"));
    if round == 0 {
        get(serve, "/api/v1/archive/stats");
    }
    let new = |id: &str| {
        json!({"archive_entry_id": format!("{id}-{round}"), "service_name": "big", "problem_statement": "p",
            "parent_entry_id": some, "inspirations": [{"archive_entry_id": entry(1)}], "accuracy_score": 0.5,
            "constitutional_compliance_score": 1})
    };
    post(serve, "/api/v1/archive", &new("one"));
    post(serve, "/api/v1/archive", &new("one"));
    post(serve, "/api/v1/archive:batch", &json!({"entries": [new("two"), new("three")]}));
    let patch = json!({"accuracy_score": 0.25});
    serve.call("PATCH", &format!("/api/v1/archive/one-{round}"), Some(&patch)).expect(200);
    for wish in [
        json!({"service_name": "service-01"}),
        json!({"service_name": "service-00", "method": "map_elites", "features": ["latency_ms"]}),
    ] {
        post(serve, "/api/v1/archive:select-parents", &wish);
    }
}

/// Every order with the filters that go with it, the second page, and what nothing matches.
fn lists(serve: &Serve, round: usize) {
    for filter in [
        "service=big",
        "service=service-03",
        "service=nobody",
        "service=big&status=active",
        "service=service-04&status=failed",
        "service=big&status=archived",
        "status=failed",
        "service=big&min_accuracy=0.9",
        "service=big&max_accuracy=0.1",
        "service=service-05&min_compliance=0.99",
        "service=big&generation=7",
        "contains=%7B%22rare%22:%22needle%22%7D",
        "service=big&contains=%7B%22rare%22:%22needle%22%7D",
        "created_after=2020-01-01T00:00:00Z",
        "",
    ] {
        for sort in ["created", "accuracy", "compliance"] {
            let path = format!("/api/v1/archive?{filter}&sort={sort}&limit={}", 20 + round);
            let page = get(serve, path.trim_start_matches('&'));
            if let Some(cursor) = page["next_cursor"].as_str() {
                get(serve, &format!("{path}&cursor={cursor}"));
            }
        }
    }
    for filter in [
        "",
        "service=big",
        "service=nobody",
        "status=queued",
        "status=failed",
        "service=big&status=completed",
        "stale=true",
        "service=big&priority=high",
    ] {
        get(serve, &format!("/api/v1/improvements?{filter}&limit={}", 20 + round));
    }
}

fn improvements(serve: &Serve, round: usize, entries: usize) {
    let base = "/api/v1/improvements";
    let new = |id: &str| {
        json!({"improvement_id": format!("{id}-{round}"), "service_name": format!("mine-{round}"), "problem_statement": "p",
            "parent_entry_id": entry(entries / 3), "priority": "critical"})
    };
    let claim = |max: u32| {
        let wish = json!({"worker": "w", "services": [format!("mine-{round}")], "max": max});
        let items = post(serve, "/api/v1/improvements:claim", &wish)["items"].clone();
        let item = |item: &Value| (item["improvement_id"].as_str().unwrap().to_owned(), item["lease_token"].clone());
        items.as_array().unwrap().iter().map(item).collect::<Vec<_>>()
    };
    for id in ["a", "b", "c"] {
        post(serve, base, &new(id));
    }
    post(serve, base, &new("a"));
    let [(done, token), (failed, other)] = <[_; 2]>::try_from(claim(2)).unwrap();
    get(serve, &format!("{base}/{done}"));
    post(serve, &format!("{base}/{done}/heartbeat"), &json!({"lease_token": token}));
    post(serve, &format!("{base}/{done}/progress"), &json!({"lease_token": token, "progress": 50}));
    let result =
        json!({"lease_token": token, "archive_entry": {"accuracy_score": 0.5, "constitutional_compliance_score": 1}});
    post(serve, &format!("{base}/{done}/complete"), &result);
    post(
        serve,
        &format!("{base}/{failed}/fail"),
        &json!({"lease_token": other, "error_message": "x", "retryable": false}),
    );
    post(serve, &format!("{base}/{failed}/retry"), &json!({}));
    post(serve, &format!("{base}/{failed}/cancel"), &json!({}));
    // The stream of one that has ended ends.
    get(serve, &format!("{base}/{done}/events"));
    // One that waits for the end.
    let waits = serve.request("GET", &format!("{base}/c-{round}/events")).send().unwrap();
    post(serve, &format!("{base}/c-{round}/cancel"), &json!({}));
    assert!(waits.text().unwrap().contains("event: cancelled"));
    // Anybody's, most urgent first.
    post(serve, "/api/v1/improvements:claim", &json!({"worker": "w", "max": 3}));
}

/// Two files of an entry, one of which is taken away and collected.
fn artifacts(serve: &Serve, round: usize) {
    let base = format!("/api/v1/archive/{}/artifacts", entry(round));
    for name in ["kept", "gone"] {
        let path = format!("{base}/{name}");
        let put = answer(serve.request("PUT", &path).body(format!("{name} {round}")));
        assert_eq!(put.status, 201, "{put:?}");
        get(serve, &path);
    }
    get(serve, &base);
    assert_eq!(serve.call("DELETE", &format!("{base}/gone"), None).status, 204);
    let ran = serve.call("POST", "/api/v1/admin/jobs/collect-artifacts/run", None).expect(200);
    assert_eq!(ran["detail"], "1 unreferenced, 0 stray, 0 unfinished removed");
}

fn samples(serve: &Serve, round: usize) {
    let sample = json!({"service_name": "big", "metric_type": "tokens", "metric_value": round});
    post(serve, "/api/v1/metrics", &sample);
    post(serve, "/api/v1/metrics", &Value::from(vec![sample; 300]));
    get(serve, "/api/v1/metrics/big/current");
    get(serve, &format!("/api/v1/metrics/service-{round:02}/current"));
    get(serve, &format!("/api/v1/metrics/service-{round:02}/trend"));
    get(serve, "/api/v1/metrics/big/latency_ms");
    let from = (Utc::now() - TimeDelta::days(20)).format("%Y-%m-%dT%H:%M:%SZ");
    get(serve, &format!("/api/v1/metrics/big/latency_ms?from={from}&step=1h"));
}

/// What `dgm forget` is to find.
pub(super) fn experiment(serve: &Serve, round: usize) {
    let service = format!("experiment-{round}");
    let entry = |n: usize, more: Value| {
        let mut entry = json!({"archive_entry_id": format!("{service}-{n}"), "service_name": service,
            "problem_statement": "p", "accuracy_score": 0.5, "constitutional_compliance_score": 1});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(serve, "/api/v1/archive", &entry);
    };
    let root = format!("{service}-0");
    entry(0, json!({}));
    entry(1, json!({"parent_entry_id": root}));
    entry(2, json!({"parent_entry_id": root, "inspirations": [{"archive_entry_id": format!("{service}-1")}]}));
    let wish = json!({"service_name": service, "parent_entry_id": root, "problem_statement": "p", "priority": "low"});
    post(serve, "/api/v1/improvements", &wish);
    let sample = json!({"service_name": service, "metric_type": "tokens", "metric_value": round});
    post(serve, "/api/v1/metrics", &Value::from(vec![sample; 3]));
}

fn identity(serve: &Serve, round: usize) {
    let session = post(serve, "/api/v1/sessions", &json!({}));
    assert!(session["session_token"].is_string());
    post(serve, "/api/v1/admin/tokens", &json!({"name": format!("t{round}"), "role": "reader"}));
    get(serve, "/api/v1/admin/tokens");
    assert_eq!(serve.call("DELETE", &format!("/api/v1/admin/tokens/t{round}"), None).status, 204);
    get(serve, "/ready");
}
