//! A database that was filled a moment ago, of which the planner knows nothing yet.

use serde_json::{Value, json};

use crate::support::serve::Serve;
use crate::support::{Database, setting};

const STATISTICS: &[(&str, &str)] = &[("shared_preload_libraries", "pg_stat_statements"), ("autovacuum", "off")];
/// Blocks that a few lookups by index take, and some more: a service's entries are read from some five hundred.
const FEW: f64 = 60.0;

#[test]
fn what_changed_is_looked_up_by_id_also_without_statistics() {
    let entries = setting("DGM_TEST_FRESH", 1_000);
    let database = Database::own("pg_stat_statements is preloaded", STATISTICS);
    let mut serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    serve.token = database.token("worker");
    let entry = |number: usize| {
        json!({
            "archive_entry_id": format!("e{number}"), "service_name": "fresh", "problem_statement": "p",
            "solution_patch": "x".repeat(2_000), "performance_metrics": {}, "accuracy_score": 0.5,
            "constitutional_compliance_score": 0.5,
        })
    };
    let all: Vec<Value> = (0..entries).map(entry).collect();
    assert_eq!(serve.call("POST", "/api/v1/archive:batch", Some(&json!({"entries": all}))).status, 201);
    let select = || {
        let answer =
            serve.call("POST", "/api/v1/archive:select-parents", Some(&json!({"service_name": "fresh", "n": 1})));
        assert_eq!(answer.status, 200);
    };
    select();
    database.sql("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
    for number in entries..entries + 20 {
        assert_eq!(serve.call("POST", "/api/v1/archive", Some(&entry(number))).status, 201);
        select();
    }
    let blocks = database.sql(
        "SELECT (sum(shared_blks_hit + shared_blks_read) / sum(calls))::float8 FROM pg_stat_statements
         WHERE query LIKE '%dgm:archive_changed %' AND query NOT LIKE '%pg_stat_statements%'",
    );
    let blocks: f64 = blocks.parse().unwrap();
    eprintln!("plans: {blocks:.0} blocks for what changed");
    assert!(blocks < FEW, "{blocks} blocks to look up one change");
}

#[test]
fn work_is_found_by_keys_also_without_statistics() {
    let queued = setting("DGM_TEST_FRESH", 1_000);
    let database = Database::own("pg_stat_statements is preloaded", STATISTICS);
    let mut serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    serve.token = database.token("worker");
    let post = |path: &str, body: &Value| {
        let answer = serve.call("POST", path, Some(body));
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer.body
    };
    let queue = |number: usize| {
        // Long enough that a few lie in a block, and the whole queue in hundreds.
        let new = json!({"improvement_id": format!("i{number}"), "service_name": "fresh", "problem_statement": "p".repeat(1_500)});
        post("/api/v1/improvements", &new);
    };
    // Plans are made while the queue is short, as they are in a new service.
    let work = || {
        let claimed = post("/api/v1/improvements:claim", &json!({"worker": "w", "services": ["fresh"], "max": 1}));
        let (id, token) = (&claimed["items"][0]["improvement_id"], &claimed["items"][0]["lease_token"]);
        let of = |verb: &str| format!("/api/v1/improvements/{}/{verb}", id.as_str().unwrap());
        post(&of("heartbeat"), &json!({"lease_token": token}));
        post(&of("progress"), &json!({"lease_token": token, "progress": 50}));
        let entry = json!({"accuracy_score": 0.5, "constitutional_compliance_score": 1});
        post(&of("complete"), &json!({"lease_token": token, "archive_entry": entry}));
    };
    for number in 0..20 {
        queue(number);
        work();
    }
    (20..queued).for_each(queue);
    database.sql("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
    (0..50).for_each(|_| work());
    let table: f64 = database.sql("SELECT pg_relation_size('dgm_improvements') / 8192.0").parse().unwrap();
    let blocks = database.sql(
        "SELECT max((shared_blks_hit + shared_blks_read) / calls)::float8 FROM pg_stat_statements
         WHERE query ~ 'dgm:improvement_(claim|heartbeat|complete) ' AND query NOT LIKE '%pg_stat_statements%'",
    );
    let blocks: f64 = blocks.parse().unwrap();
    eprintln!("plans: {blocks:.0} blocks for a step of work; the queue has {table:.0}");
    assert!(blocks < table / 2.0, "{blocks} blocks for a step of work, of {table}");
}
