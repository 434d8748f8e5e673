use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::pgbouncer::PgBouncer;
use crate::support::serve::Serve;
use crate::support::{Database, Stopper, dgm, sql, stdout, until};

const SENTENCE: &str = "is a connection pooler in transaction mode";

/// Every command that uses the database.
const COMMANDS: &[&[&str]] = &[
    &["migrate", "status"],
    &["migrate", "up"],
    &["migrate", "verify"],
    &["doctor"],
    &["serve"],
    &["token", "list"],
    &["job", "list"],
    &["job", "run", "enforce-retention"],
    &["partition", "status"],
    &["partition", "ensure"],
    &["export", "--service", "s"],
    &["forget", "s", "--yes"],
];

fn refuses(url: &str, arguments: &[&str]) {
    let output = dgm(url, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &stdout(&output);
    assert!(!output.status.success() && said.contains(SENTENCE), "{arguments:?}: {said}");
}

/// Nothing holds a lock, and no parameter stayed with a connection that the pooler gives to others.
fn is_untouched(database: &Database) {
    assert_eq!(database.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"), "0");
    assert!(database.dgm(&["migrate", "status", "--wait", "1"]).status.success());
}

#[test]
fn a_pooler_in_transaction_mode_is_refused_before_any_lock() {
    let database = Database::migrated();
    let pooler =
        PgBouncer::start(database.port(), "transaction", "ignore_startup_parameters = extra_float_digits,options");
    let url = pooler.url(database.name());
    for arguments in COMMANDS {
        refuses(&url, arguments);
    }
    is_untouched(&database);
    // The sentence is the whole answer of a command.
    let output = dgm(&url, &["migrate", "up"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("dgm: 127.0.0.1:") && !said.contains("error"), "{said}");
    // The same as a replica.
    let replica = std::process::Command::new(env!("CARGO_BIN_EXE_dgm"))
        .arg("serve")
        .envs([("DATABASE_URL", database.url()), ("DATABASE_REPLICA_URL", url)])
        .output()
        .unwrap();
    assert!(!replica.status.success() && String::from_utf8_lossy(&replica.stderr).contains(SENTENCE), "{replica:?}");
}

#[test]
fn it_is_found_also_while_others_use_it_and_when_it_takes_turns() {
    let database = Database::migrated();
    for settings in ["server_round_robin = 1\nmin_pool_size = 2", "default_pool_size = 10", "default_pool_size = 1"] {
        let pooler = PgBouncer::start(database.port(), "transaction", settings);
        let (url, stop) = (pooler.url(database.name()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let _stopper = Stopper(&stop);
            for _ in 0..3 {
                let (url, stop) = (&url, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        sql(url, "SELECT pg_sleep(0.002); SELECT 1");
                    }
                });
            }
            for _ in 0..3 {
                refuses(&url, &["migrate", "status"]);
            }
        });
    }
    // One that allows no transactions at all.
    let statements = PgBouncer::start(database.port(), "statement", "");
    refuses(&statements.url(database.name()), &["migrate", "up"]);
    is_untouched(&database);
}

#[test]
fn session_mode_is_supported() {
    let database = Database::ready();
    // Nothing but the default configuration: no parameter that PgBouncer would refuse at the start is sent.
    let pooler = PgBouncer::start(database.port(), "session", "default_pool_size = 60");
    let url = pooler.url(database.name());
    let mut serve = Serve::start_with(&database, "", &[("DATABASE_URL", &url)]);
    serve.token = database.token("worker");
    let call = |method: &str, path: &str, body| serve.call(method, &format!("/api/v1/{path}"), Some(&body));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let call = &call;
            scope.spawn(move || {
                for n in 0..10 {
                    let id = format!("{worker}-{n}");
                    let entry = json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p",
                        "accuracy_score": 0.5, "constitutional_compliance_score": 1});
                    call("POST", "archive", entry).expect(201);
                    call("PATCH", &format!("archive/{id}"), json!({"accuracy_score": 0.25})).expect(200);
                    let sample = json!({"service_name": "s", "metric_type": "m", "metric_value": n});
                    call("POST", "metrics", sample).expect(201);
                }
            });
        }
    });
    // The feed listens through it: a change from outside is seen.
    serve.call("GET", "/api/v1/archive/0-0", None).expect(200);
    database.sql("UPDATE dgm_archive SET accuracy_score = 0.75 WHERE archive_entry_id = '0-0'");
    until("a change from outside is seen", || {
        serve.call("GET", "/api/v1/archive/0-0", None).expect(200)["accuracy_score"] == 0.75
    });
    for arguments in [&["migrate", "up"][..], &["job", "run", "enforce-retention"], &["partition", "ensure"]] {
        let output = dgm(&url, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let doctor = stdout(&dgm(&url, &["doctor"]));
    assert!(doctor.contains("pooler       ok"), "{doctor}");
}
