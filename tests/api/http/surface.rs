//! The surface as a whole: one table of routes, one document, one list of problems, one exposition.

use std::collections::BTreeSet;

use dgm_service::http::access::{Access, TABLE};
use dgm_service::http::{document, problem};
use serde_json::Value;

use crate::support::service::Service;
use crate::support::until;

#[test]
fn every_route_stands_in_the_access_table_and_in_the_document() {
    let document = serde_json::to_value(document()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            documented.insert((method.to_uppercase(), path.clone()));
            assert!(operation["operationId"].is_string(), "{method} {path} has no operationId");
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        }
    }
    let undocumented = [
        "/",
        "/status.json",
        "/status/{asset}",
        "/runbooks/{alert}",
        "/metrics",
        "/docs",
        "/docs/",
        "/docs/{*rest}",
        "/api/openapi.json",
    ];
    let table: BTreeSet<_> = TABLE
        .iter()
        .filter(|(_, route, _)| !undocumented.contains(route))
        .map(|(method, route, _)| ((*method).to_owned(), (*route).to_owned()))
        .collect();
    assert_eq!(table, documented);
    assert!(TABLE.iter().any(|(_, _, access)| *access != Access::Public));
}

#[test]
fn every_problem_is_in_the_reference() {
    let reference = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/API.md")).unwrap();
    for kind in problem::Kind::ALL {
        let row = format!("| `{}` | {} |", kind.as_str(), kind.status().as_u16());
        assert!(reference.contains(&row), "docs/API.md lacks {row}");
    }
}

#[test]
fn the_exposition_speaks_of_requests_by_template_and_of_statements_by_name() {
    let api = Service::open();
    for id in ["one", "two", "three"] {
        assert_eq!(api.get(&format!("/api/v1/archive/{id}")).status, 404);
    }
    assert_eq!(api.get("/wp-login.php?x=1").status, 404);
    // The observer sets this one on its own clock, first at the start.
    let partitions = "dgm_partitions{table=\"dgm_performance_metrics\"} 4";
    until("the partitions are counted", || api.ops("/metrics").1.contains(partitions));
    let metrics = api.ops("/metrics").1;
    let route = "route=\"/api/v1/archive/{archive_entry_id}\",method=\"GET\"";
    for line in [
        format!("dgm_http_requests_total{{{route},status=\"4xx\"}} 3"),
        format!("dgm_http_request_duration_seconds_count{{{route}}} 3"),
        "dgm_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"4xx\"} 1".to_owned(),
        "dgm_db_statement_duration_seconds_count{statement=\"archive_get\"} 3".to_owned(),
        "dgm_cache_requests_total{class=\"entry\",tier=\"l1\",result=\"miss\"} 3".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("wp-login"));
}

/// `make generate` writes these; they must be what the code says.
#[test]
fn generated_files_are_fresh() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let openapi: Value = serde_json::from_str(&read("openapi.json")).unwrap();
    assert_eq!(openapi, serde_json::to_value(document()).unwrap(), "run `make generate`");
    dgm_service::http::define_labels();
    let metrics = dgm_service::observability::reference::markdown();
    assert_eq!(read("docs/METRICS.md").trim_end(), metrics.trim_end(), "run `make generate`");
}
