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
    let database = Database::start_with(STATISTICS);
    assert!(database.dgm(&["migrate", "up"]).status.success());
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
