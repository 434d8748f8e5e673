//! `dgm forget`: a service goes whole, whatever happens on the way, and nothing of others does.

mod caches;
mod interruption;
mod refusals;
mod traffic;

use std::process::{Command, Output};

use chrono::{Months, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::serve::Serve;
use crate::support::{Database, stdout};

/// Every row of a service, of the tables that hang on its entries and improvements too, as text.
fn rows_of(database: &Database, service: &str) -> Vec<String> {
    let entries =
        format!("archive_entry_id IN (SELECT archive_entry_id FROM dgm_archive WHERE service_name = '{service}')");
    let tables = [
        ("dgm_archive", format!("service_name = '{service}'")),
        ("dgm_archive_inspirations", entries.clone()),
        ("dgm_archive_score_history", entries.clone()),
        ("dgm_archive_artifacts", entries.clone()),
        ("dgm_archive_access", entries),
        ("dgm_improvements", format!("service_name = '{service}'")),
        (
            "dgm_improvement_events",
            format!("improvement_id IN (SELECT improvement_id FROM dgm_improvements WHERE service_name = '{service}')"),
        ),
        ("dgm_performance_metrics", format!("service_name = '{service}'")),
    ];
    let of = |(table, condition): (&str, String)| {
        let rows = database.sql(&format!("SELECT row_to_json(t) FROM {table} t WHERE {condition} ORDER BY t::text"));
        rows.lines().map(|row| format!("{table} {row}")).collect::<Vec<_>>()
    };
    tables.into_iter().flat_map(of).collect()
}

/// Rows of a service by table.
fn counts(database: &Database, service: &str) -> String {
    database.sql(&format!(
        "SELECT (SELECT count(*) FROM dgm_archive WHERE service_name = '{service}'),
            (SELECT count(*) FROM dgm_improvements WHERE service_name = '{service}'),
            (SELECT count(*) FROM dgm_performance_metrics WHERE service_name = '{service}')"
    ))
}

/// Rows that refer to nothing, by what `dgm migrate verify` says.
fn orphans(database: &Database) -> String {
    let verified = stdout(&database.dgm(&["migrate", "verify"]));
    let checks = ["broken references", "orphan parents", "lineage cycles"];
    let of = |check: &&str| verified.lines().find(|line| line.contains(*check)).unwrap_or(check).to_owned();
    let faults: Vec<String> = checks.iter().map(of).filter(|line| !line.starts_with("ok ")).collect();
    faults.join("\n")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The command with Redis, so that it can drop figures there.
fn forget(database: &Database, redis: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command.arg("forget").args(arguments).env("DATABASE_URL", database.url()).env("REDIS_URL", redis);
    command.output().unwrap()
}

fn post(serve: &Serve, path: &str, body: &Value) -> Value {
    let answer = serve.call("POST", path, Some(body));
    assert!(answer.status < 300, "{path}: {answer:?}");
    answer.body
}

/// Entries in a lineage with inspirations and a revised score, improvements in every state but running, samples in three
/// months.
fn experiment(serve: &Serve, service: &str) {
    for n in 0..6 {
        let mut entry = json!({"archive_entry_id": format!("{service}-e{n}"), "service_name": service,
            "problem_statement": "p", "accuracy_score": 0.5, "constitutional_compliance_score": 1});
        if n > 0 {
            entry["parent_entry_id"] = json!(format!("{service}-e{}", (n - 1) / 2));
        }
        if n > 2 {
            entry["inspirations"] = json!([{"archive_entry_id": format!("{service}-e2")}]);
        }
        post(serve, "/api/v1/archive", &entry);
    }
    let path = format!("/api/v1/archive/{service}-e1");
    serve.call("PATCH", &path, Some(&json!({"accuracy_score": 0.75}))).expect(200);

    let base = "/api/v1/improvements";
    for n in 0..4 {
        let wish = json!({"improvement_id": format!("{service}-i{n}"), "service_name": service,
            "problem_statement": "p", "parent_entry_id": format!("{service}-e3")});
        post(serve, base, &wish);
    }
    let wish = json!({"worker": "w", "services": [service], "max": 2});
    let claimed = post(serve, &format!("{base}:claim"), &wish);
    let held = |n: usize| {
        let item = &claimed["items"][n];
        (format!("{base}/{}", item["improvement_id"].as_str().unwrap()), item["lease_token"].clone())
    };
    let (done, token) = held(0);
    post(serve, &format!("{done}/progress"), &json!({"lease_token": token, "progress": 50}));
    let entry = json!({"archive_entry_id": format!("{service}-made"), "accuracy_score": 0.9,
        "constitutional_compliance_score": 1});
    post(serve, &format!("{done}/complete"), &json!({"lease_token": token, "archive_entry": entry}));
    let (failed, token) = held(1);
    let failure = json!({"lease_token": token, "error_message": "x", "retryable": false});
    post(serve, &format!("{failed}/fail"), &failure);
    post(serve, &format!("{base}/{service}-i2/cancel"), &json!({}));

    let latest = Utc::now() - TimeDelta::hours(1);
    let samples: Vec<Value> = (0..3)
        .flat_map(|month| {
            let at = latest.checked_sub_months(Months::new(month)).unwrap();
            ["latency", "tokens"].map(|kind| {
                json!({"service_name": service, "metric_type": kind, "metric_value": month,
                    "measurement_timestamp": at, "archive_entry_id": format!("{service}-e1")})
            })
        })
        .collect();
    post(serve, "/api/v1/metrics", &Value::from(samples));
}
