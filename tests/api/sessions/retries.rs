use serde_json::json;

use crate::support::serve::Serve;
use crate::support::{Database, until};

/// Raises an error in the first `times` transactions that write a row of a table. A sequence counts, since it is not rolled back.
fn fail(database: &Database, table: &str, event: &str, code: &str, times: u32) {
    database.sql(&format!(
        "CREATE SEQUENCE IF NOT EXISTS attempts;
         SELECT setval('attempts', 1, false);
         CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('attempts') <= {times} THEN RAISE EXCEPTION 'as the test wishes' USING ERRCODE = '{code}'; END IF;
             RETURN NEW;
         END $$;
         DROP TRIGGER IF EXISTS fail ON {table};
         CREATE TRIGGER fail BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn a_transaction_that_the_server_rolled_back_is_run_again_at_most_three_times() {
    let database = Database::ready();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    let retries = |reason: &str| serve.count(&format!("dgm_db_transaction_retries_total{{reason=\"{reason}\"}}"));
    let call = |method: &str, path: &str, body| serve.call(method, &format!("/api/v1/{path}"), Some(&body));
    let entry = |id: &str| {
        json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
            "constitutional_compliance_score": 1})
    };
    assert_eq!((retries("serialization"), retries("deadlock")), (0, 0));

    // Group commit.
    fail(&database, "dgm_archive", "INSERT", "40001", 3);
    call("POST", "archive", entry("a")).expect(201);
    assert_eq!(retries("serialization"), 3);
    fail(&database, "dgm_archive", "INSERT", "40P01", 4);
    assert_eq!(call("POST", "archive", entry("b")).status, 503);
    assert_eq!(retries("deadlock"), 3);
    // Several statements in one transaction.
    fail(&database, "dgm_archive", "INSERT", "40P01", 2);
    call("POST", "archive:batch", json!({"entries": [entry("c"), entry("d")]})).expect(201);
    assert_eq!(retries("deadlock"), 5);
    // A statement of its own.
    fail(&database, "dgm_archive", "UPDATE", "40001", 2);
    call("PATCH", "archive/a", json!({"accuracy_score": 0.25})).expect(200);
    assert_eq!(retries("serialization"), 5);
    assert_eq!(database.sql("SELECT version FROM dgm_archive WHERE archive_entry_id = 'a'"), "2");
    // Other errors are not retried.
    fail(&database, "dgm_archive", "UPDATE", "57014", 1);
    assert_eq!(call("PATCH", "archive/a", json!({"accuracy_score": 0.5})).status, 503);
    assert_eq!((retries("serialization"), retries("deadlock")), (5, 5));

    // A claim is made at most once: its COMMIT was sent with the statement.
    database.sql("DROP TRIGGER fail ON dgm_archive");
    call("POST", "improvements", json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"}))
        .expect(201);
    fail(&database, "dgm_improvements", "UPDATE", "40001", 1);
    assert_eq!(call("POST", "improvements:claim", json!({"worker": "w"})).status, 503);
    assert_eq!(retries("serialization"), 5);
    let claimed = call("POST", "improvements:claim", json!({"worker": "w"})).expect(200);
    let token = &claimed["items"][0]["lease_token"];
    fail(&database, "dgm_improvements", "UPDATE", "40001", 1);
    call("POST", "improvements/i/fail", json!({"lease_token": token, "error_message": "e"})).expect(200);
    assert_eq!(retries("serialization"), 6);
}

#[test]
fn two_transactions_that_wait_for_each_other_both_succeed() {
    let database = Database::ready();
    // A session looks for deadlocks once. By then the other one must be waiting, too, on a busy machine as well.
    database.sql(&format!("ALTER DATABASE {} SET deadlock_timeout = '3s'", database.name()));
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    for id in ["a", "b"] {
        let entry = json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
            "constitutional_compliance_score": 1});
        serve.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
    }
    // A real deadlock: the change of `a` waits for `b`, whose holder then waits for `a`.
    database.sql(
        "CREATE FUNCTION also_b() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM FROM dgm_archive WHERE archive_entry_id = 'b' FOR UPDATE;
             RETURN NEW;
         END $$;
         CREATE TRIGGER also_b AFTER UPDATE ON dgm_archive FOR EACH ROW WHEN (NEW.archive_entry_id = 'a') EXECUTE FUNCTION also_b();",
    );
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            // It checks for deadlocks late, so that the service's transaction is the one that is rolled back.
            database.sql(
                "SET deadlock_timeout = '20s'; BEGIN; SELECT FROM dgm_archive WHERE archive_entry_id = 'b' FOR UPDATE;
                 SELECT pg_sleep(1); SELECT FROM dgm_archive WHERE archive_entry_id = 'a' FOR UPDATE; COMMIT",
            )
        });
        until("the other one holds b", || {
            database.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
            ) == "1"
        });
        let patch = json!({"accuracy_score": 0.25});
        serve.call("PATCH", "/api/v1/archive/a", Some(&patch)).expect(200);
        holder.join().unwrap();
    });
    let retries = serve.count("dgm_db_transaction_retries_total{reason=\"deadlock\"}");
    assert!((1..=3).contains(&retries), "{retries}");
}
