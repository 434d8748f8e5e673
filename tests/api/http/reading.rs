//! What follows from reading and changing entries, beside the answer.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::service::Service;
use crate::support::until;

fn create(api: &Service, id: &str, parent: Option<&str>, accuracy: f64) {
    let entry = json!({"archive_entry_id": id, "parent_entry_id": parent, "service_name": "s", "problem_statement": "p",
        "accuracy_score": accuracy, "constitutional_compliance_score": 1});
    api.post("/api/v1/archive", &entry).expect(201);
}

fn count(api: &Service, series: &str) -> u64 {
    let text = api.ops("/metrics").1;
    text.lines().find_map(|line| line.strip_prefix(series)).map_or(0, |value| value.trim().parse().unwrap())
}

#[test]
fn reading_fetches_relatives_and_is_counted() {
    const PREFETCHED: &str = "dgm_cache_prefetched_total";
    const LOADED: &str = "dgm_cache_load_duration_seconds_count{class=\"entry\"}";
    let mut api = Service::open();
    create(&api, "root", None, 0.5);
    create(&api, "middle", Some("root"), 0.5);
    for (n, accuracy) in [0.1, 0.9, 0.8, 0.7].into_iter().enumerate() {
        create(&api, &format!("child-{n}"), Some("middle"), accuracy);
    }
    api.get("/api/v1/archive/middle").expect(200);
    until("parent and three best children are fetched", || count(&api, PREFETCHED) == 4);
    let loaded = count(&api, LOADED);
    for id in ["root", "child-1", "child-2", "child-3", "child-1"] {
        api.get(&format!("/api/v1/archive/{id}")).expect(200);
    }
    assert_eq!(count(&api, LOADED), loaded, "they were there already");
    api.get("/api/v1/archive/child-0").expect(200);
    assert_eq!(count(&api, LOADED), loaded + 1, "the worst child was not");

    // A prefetched copy is judged like any other.
    api.sql("UPDATE dgm_archive SET accuracy_score = 0.25 WHERE archive_entry_id = 'root'");
    until("a change by psql is seen", || api.get("/api/v1/archive/root").expect(200)["accuracy_score"] == 0.25);

    // The counts outlive the process, and the next one starts with what was read most.
    assert_eq!(api.signal(Signal::INT), Some(0));
    api.serve.restart();
    let reads = api.sql("SELECT access_count FROM dgm_archive_access WHERE archive_entry_id = 'child-1'");
    assert_eq!(reads, "2");
    until("the new process is warm", || count(&api, PREFETCHED) >= 4);
}

#[test]
fn selection_sees_every_change_whoever_made_it() {
    let api = Service::open();
    let select = || {
        let wish = json!({"service_name": "s", "method": "best", "n": 10});
        let answer = api.post("/api/v1/archive:select-parents", &wish);
        if answer.status == 422 {
            return Vec::new();
        }
        let parents = answer.expect(200)["parents"].clone();
        let parent = |p: &Value| (p["archive_entry_id"].as_str().unwrap().to_owned(), p["children"].as_u64().unwrap());
        parents.as_array().unwrap().iter().map(parent).collect::<Vec<_>>()
    };
    let is = |expected: &[(&str, u64)]| {
        let expected: Vec<(String, u64)> =
            expected.iter().map(|(id, children)| ((*id).to_owned(), *children)).collect();
        assert_eq!(select(), expected);
    };
    is(&[]);
    create(&api, "a", None, 0.5);
    is(&[("a", 0)]);
    create(&api, "b", Some("a"), 0.7);
    is(&[("b", 0), ("a", 1)]);
    api.sql("UPDATE dgm_archive SET accuracy_score = 0.9 WHERE archive_entry_id = 'a'");
    is(&[("a", 1), ("b", 0)]);
    api.patch("/api/v1/archive/b", &json!({"status": "archived"})).expect(200);
    is(&[("a", 0)]);
    api.sql("UPDATE dgm_archive SET service_name = 'other' WHERE archive_entry_id = 'a'; DELETE FROM dgm_archive WHERE archive_entry_id = 'b'");
    is(&[]);
    // A pool that cannot be followed any more is made anew.
    api.sql("UPDATE dgm_archive SET service_name = 's'");
    api.sql("UPDATE dgm_archive_feed SET pruned_before = pg_current_xact_id(); DELETE FROM dgm_archive_changes");
    is(&[("a", 0)]);
    api.sql("TRUNCATE dgm_archive CASCADE");
    is(&[]);
}
