//! How large a scrape can become, whatever callers do.

use std::ops::Range;

use serde_json::json;

use crate::support::serve::Serve;
use crate::support::{Database, setting};

/// So many times as many callers.
const CALLERS: &str = "DGM_TEST_CALLERS";
const PATHS: usize = 2_000;
const SERVICES: usize = 200;
const USERS: usize = 200;
/// What callers may add to all names of metrics together: less than one series for each user.
const GROWTH: usize = USERS - 1;
/// What a scrape may have at most.
const SERIES: usize = 5_000;
const BYTES: usize = 1 << 20;

#[test]
fn callers_cannot_make_series() {
    let callers = setting(CALLERS, 1);
    let (paths, services, users) = (callers * PATHS, callers * SERVICES, callers * USERS);
    let database = Database::migrated();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("admin");
    // Series of a route or a statement come with its first use.
    call(&serve, 0..1, 0..1, 0..1);
    let at_first = lines(&serve.metrics(), |line| !is_bucket(line));
    call(&serve, 1..paths, 1..services, 1..users);
    let text = serve.metrics();
    let (count, label_sets) = (lines(&text, |_| true), lines(&text, |line| !is_bucket(line)));
    eprintln!("{at_first} label sets at first, {label_sets} afterwards, {count} series, {} KiB", text.len() >> 10);
    assert!(label_sets <= at_first + GROWTH, "{at_first} label sets at first, {label_sets} afterwards");
    assert!(count < SERIES && text.len() < BYTES, "{count} series, {} bytes", text.len());
    for name in ["wp-login", "service-1", "kind-1", "user-1", "entry-0"] {
        assert!(!text.contains(name), "{name} became a label");
    }
}

/// By paths that there are none of, about services, and by users, of these numbers.
fn call(serve: &Serve, paths: Range<usize>, services: Range<usize>, users: Range<usize>) {
    let mut wire = serve.wire();
    let unknown: Vec<String> = paths.map(|n| format!("/{n:x}/wp-login-{n}.php?x={n}")).collect();
    wire.get_all(unknown.iter().map(String::as_str), |_, reply| assert_eq!(reply.status, 404)).unwrap();
    for n in services.clone() {
        let service = format!("service-{n}");
        let entry = json!({"archive_entry_id": format!("entry-{n}"), "service_name": service, "problem_statement": "p",
            "accuracy_score": 0.5, "constitutional_compliance_score": 1, "performance_metrics": {}});
        assert_eq!(wire.call("POST", "/api/v1/archive", &entry).unwrap().status, 201);
        let sample = json!({"service_name": service, "metric_type": format!("kind-{n}"), "metric_value": 1});
        assert_eq!(wire.call("POST", "/api/v1/metrics", &sample).unwrap().status, 201);
    }
    let reads: Vec<String> = services
        .flat_map(|n| {
            [format!("/api/v1/metrics/service-{n}/current"), format!("/api/v1/archive/stats?service=service-{n}")]
        })
        .collect();
    wire.get_all(reads.iter().map(String::as_str), |_, reply| assert_eq!(reply.status, 200)).unwrap();
    for n in users {
        let made =
            wire.call("POST", "/api/v1/admin/tokens", &json!({"name": format!("user-{n}"), "role": "reader"})).unwrap();
        let token = made.json()["token"].as_str().unwrap().to_owned();
        let mut user = crate::support::wire::Wire::connect(&serve.api, &token).unwrap();
        user.get_all(["/api/v1/archive/entry-0"], |_, reply| assert_eq!(reply.status, 200)).unwrap();
    }
}

fn lines(text: &str, counts: impl Fn(&str) -> bool) -> usize {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && counts(line)).count()
}

/// A histogram that a background job uses for the first time adds all its buckets at once, and callers had no part in it.
fn is_bucket(line: &str) -> bool {
    line.split(['{', ' ']).next().is_some_and(|name| name.ends_with("_bucket"))
}
