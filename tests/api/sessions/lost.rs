use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Database;
use crate::support::serve::Serve;

/// Ends all sessions of the service, as an administrator, a restart or a failover does.
fn end_all(database: &Database) {
    database.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'dgm%'",
    );
}

fn entry(id: &str) -> Value {
    json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1})
}

/// One request of each kind, of which reads, writes and probes are told apart by the pools that they use.
fn request(serve: &Serve, n: usize) -> (String, u16) {
    let call = |method: &str, path: &str, body: Option<Value>| {
        let status = serve.call(method, &format!("/api/v1/{path}"), body.as_ref()).status;
        (format!("{method} {path}"), status)
    };
    match n % 6 {
        0 => call("GET", "archive?service=s", None),
        1 => call("POST", "archive", Some(entry(&format!("{n}")))),
        2 => call("PATCH", "archive/shared", Some(json!({"accuracy_score": 0.25}))),
        3 => call(
            "POST",
            "improvements",
            Some(json!({"improvement_id": format!("{n}"), "service_name": "s", "problem_statement": "p"})),
        ),
        4 => call("POST", "improvements:claim", Some(json!({"worker": "w"}))),
        _ => ("/ready".to_owned(), serve.operations("/ready").send().unwrap().status().as_u16()),
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_fails_no_request() {
    let database = Database::ready();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    serve.call("POST", "/api/v1/archive", Some(&entry("shared"))).expect(201);
    let fill = |first: usize| {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let serve = &serve;
                scope.spawn(move || (0..12).for_each(|n| drop(request(serve, first + thread * 12 + n))));
            }
        });
    };
    // After a pause each is tested before its use; without one, the first that is found broken puts all others to the test.
    for (round, pause) in [1100, 200, 0].into_iter().enumerate() {
        let first = 1000 * (round + 1);
        fill(first);
        std::thread::sleep(Duration::from_millis(50));
        end_all(&database);
        std::thread::sleep(Duration::from_millis(pause));
        let failed: Vec<_> =
            (0..60).map(|n| request(&serve, first + 500 + n)).filter(|(_, status)| *status >= 400).collect();
        // Without any pause, what cannot be repeated may meet a broken connection before the feed notices.
        let bound = usize::from(pause == 0);
        assert!(failed.len() <= bound, "after {pause} ms: {failed:?}");
    }
    // Those of the locks of jobs, too.
    let operator = database.token("operator");
    serve.token = operator;
    for _ in 0..2 {
        serve.call("POST", "/api/v1/admin/jobs/collect-health/run", None).expect(200);
        end_all(&database);
        std::thread::sleep(Duration::from_millis(200));
    }
    serve.call("POST", "/api/v1/admin/jobs/collect-health/run", None).expect(200);
}
