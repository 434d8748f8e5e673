//! Labels of requests: those of the table of routes, from 0, and `other` and `unmatched` for the rest.

use std::collections::BTreeSet;

use dgm_service::http::access::TABLE;
use dgm_service::http::define_labels;
use dgm_service::telemetry::catalogue::Label as _;
use dgm_service::telemetry::catalogue::routes::{Method, Route};
use serde_json::json;

use crate::support::answer::answer;
use crate::support::service::Service;

/// Route and method of each series of the counter of requests.
fn counted(exposition: &str) -> BTreeSet<(String, String)> {
    let series = exposition.lines().filter_map(|line| line.strip_prefix("dgm_http_requests_total{route=\""));
    series
        .map(|rest| {
            let (route, rest) = rest.split_once("\",method=\"").unwrap();
            let (method, _) = rest.split_once('"').unwrap();
            (route.to_owned(), method.to_owned())
        })
        .collect()
}

#[test]
fn every_route_and_method_of_the_table_has_a_label() {
    define_labels();
    for (method, route, _) in TABLE {
        assert_eq!((Method::of(method).as_str(), Route::of(route).as_str()), (*method, *route));
    }
    assert_eq!(Method::of("HEAD").as_str(), "HEAD", "served wherever GET is");
    assert_eq!((Method::of("BREW"), Route::of("/api/v1/coffee")), (Method::OTHER, Route::UNMATCHED));
    let methods: BTreeSet<&str> = Method::values().into_iter().collect();
    let expected: BTreeSet<&str> = TABLE.iter().map(|(method, ..)| *method).chain(["HEAD", "other"]).collect();
    assert_eq!(methods, expected);
}

#[test]
fn pairs_of_the_table_count_from_zero_and_uploads_count_as_put() {
    const ARTIFACT: &str = "/api/v1/archive/{archive_entry_id}/artifacts/{name}";
    let service = Service::open();
    let table: BTreeSet<_> =
        TABLE.iter().map(|(method, route, _)| ((*route).to_owned(), (*method).to_owned())).collect();
    let before = service.ops("/metrics").1;
    assert_eq!(counted(&before), table, "before any request");
    let uploads = |status: &str, count: u32| {
        format!("dgm_http_requests_total{{route=\"{ARTIFACT}\",method=\"PUT\",status=\"{status}\"}} {count}\n")
    };
    for status in ["2xx", "3xx", "4xx", "5xx"] {
        assert!(before.contains(&uploads(status, 0)), "{}", uploads(status, 0));
    }

    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1});
    service.post("/api/v1/archive", &entry).expect(201);
    answer(service.request("PUT", "/api/v1/archive/e/artifacts/a.diff").body("+1")).expect(201);
    assert_eq!(answer(service.request("HEAD", "/api/v1/archive/e")).status, 200);
    assert_eq!(answer(service.request("BREW", "/api/v1/archive/e")).status, 405);
    assert_eq!(answer(service.request("BREW", "/api/v1/coffee")).status, 404);
    let after = service.ops("/metrics").1;
    assert!(after.contains(&uploads("2xx", 1)), "{after}");
    let one = "/api/v1/archive/{archive_entry_id}";
    let others = [(one, "HEAD"), (one, "other"), ("unmatched", "other")]
        .map(|(route, method)| (route.to_owned(), method.to_owned()));
    assert_eq!(counted(&after), table.into_iter().chain(others).collect());
}
