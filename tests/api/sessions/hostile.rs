use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hostile::make_hostile;
use crate::support::serve::Serve;
use crate::support::{Database, stdout};

/// A database whose role and whose own parameters contradict what the service needs.
fn hostile() -> Database {
    let database = Database::ready();
    make_hostile(&database.url(), &format!("ROLE dgm IN DATABASE {}", database.name()));
    make_hostile(&database.url(), &format!("DATABASE {}", database.name()));
    database
}

fn entry(id: &str) -> Value {
    json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "größer ☃ \\ 'p'", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1, "performance_metrics": {"runtime": 0.1}})
}

#[test]
fn requests_succeed_whatever_the_role_and_the_database_set() {
    let database = hostile();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    let call = |method: &str, path: &str, body: &Value| serve.call(method, &format!("/api/v1/{path}"), Some(body));
    call("POST", "archive", &entry("shared")).expect(201);
    // Twelve workers claim, report, complete and change one entry: serializable transactions would fail each other.
    std::thread::scope(|scope| {
        for worker in 0..12 {
            let call = &call;
            scope.spawn(move || {
                for n in 0..6 {
                    let id = format!("{worker}-{n}");
                    let improvement = json!({"improvement_id": id, "service_name": "s", "problem_statement": "p"});
                    call("POST", "improvements", &improvement).expect(201);
                    call("PATCH", "archive/shared", &json!({"accuracy_score": 0.5})).expect(200);
                    let sample = json!({"service_name": "s", "metric_type": "m", "metric_value": n});
                    call("POST", "metrics", &sample).expect(201);
                    let claimed = call("POST", "improvements:claim", &json!({"worker": id})).expect(200);
                    let item = &claimed["items"][0];
                    let path = format!("improvements/{}", item["improvement_id"].as_str().unwrap());
                    let lease = &item["lease_token"];
                    call("POST", &format!("{path}/progress"), &json!({"lease_token": lease, "progress": 50})).expect(200);
                    let result = json!({"accuracy_score": 0.5, "constitutional_compliance_score": 1, "parent_entry_id": "shared"});
                    call("POST", &format!("{path}/complete"), &json!({"lease_token": lease, "archive_entry": result})).expect(200);
                }
            });
        }
    });
    let get = |path: &str| serve.call("GET", &format!("/api/v1/{path}"), None).expect(200);
    let read = get("archive/shared");
    assert_eq!(read["problem_statement"], "größer ☃ \\ 'p'");
    assert_eq!(read["performance_metrics"]["runtime"], 0.1);
    assert!(read["created_at"].as_str().unwrap().ends_with('Z'), "{read}");
    assert_eq!(get("archive/stats?service=s")["total"], 73);
    assert_eq!(get("archive/shared/children?limit=100")["items"].as_array().unwrap().len(), 72);
    let settings = database.sql(
        "SELECT count(*) FILTER (WHERE state = 'idle in transaction'), count(*) > 1 FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'dgm%'",
    );
    assert_eq!(settings, "0|t");

    // Longer than the role's idle_session_timeout.
    std::thread::sleep(Duration::from_millis(1500));
    for n in 0..6 {
        get("archive?service=s");
        call("PATCH", "archive/shared", &json!({"accuracy_score": 0.25})).expect(200);
        call("POST", "archive", &entry(&format!("later-{n}"))).expect(201);
        assert_eq!(serve.operations("/ready").send().unwrap().status(), 200);
    }
}

#[test]
fn commands_and_migrations_succeed_whatever_the_role_and_the_database_set() {
    let database = hostile();
    // A change that takes longer than the role's statement_timeout, and builds indexes concurrently.
    database.sql(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics, accuracy_score,
             constitutional_compliance_score)
         SELECT 'e' || n, 's', repeat('p', 100), '{\"a\": 1}', 0.5, 1 FROM generate_series(1, 2000) n",
    );
    let doctor = database.dgm(&["doctor"]);
    // The disk is the test machine's own.
    let told = stdout(&doctor);
    assert!(told.lines().all(|line| !line.contains(" FAIL ") || line.starts_with("disk ")), "{told}");
    for arguments in [
        &["migrate", "down", "--to", "6", "--yes"][..],
        &["migrate", "up"],
        &["migrate", "verify"],
        &["partition", "ensure"],
        &["job", "run", "enforce-retention"],
        &["token", "create", "--name", "t", "--role", "worker"],
        &["export", "--service", "s"],
    ] {
        let output = database.dgm(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    // What a migration creates does not depend on the session.
    assert_eq!(database.schema(), Database::ready().schema());
    assert!(stdout(&database.dgm(&["migrate", "status"])).contains("applied"));
}
