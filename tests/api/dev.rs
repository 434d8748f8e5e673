//! `dgm dev` as a newcomer meets it: the real binary, its own PostgreSQL, its two listeners.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::answer::answer;
use crate::support::dev::{Dev, command};
use crate::support::make_traversable;

#[test]
fn it_serves_keeps_its_data_and_refuses_a_second_owner() {
    let directory = tempfile::tempdir().unwrap();
    make_traversable(directory.path());
    let mut dev = Dev::start(directory.path(), &[]);
    for path in ["/health", "/ready"] {
        dev.get(path).expect(200);
        assert_eq!(dev.ops(path).0, 200, "{path}");
    }
    assert_eq!(dev.get("/nothing").problem(), "not-found");
    assert_eq!(dev.post("/ready", &Value::Null).problem(), "method-not-allowed");
    let docs = dev.get("/docs/");
    assert!(docs.status == 200 && docs.content_type.starts_with("text/html"), "{docs:?}");
    assert_eq!(dev.get("/api/openapi.json").expect(200)["openapi"], "3.1.0");
    assert_eq!(dev.get("/metrics").status, 404, "metrics are for operators only");
    let elsewhere = dev.request("GET", "/ready").header("host", "evil.example:8007");
    assert_eq!(answer(elsewhere).problem(), "misdirected-host");
    let page = dev.request("POST", "/api/v1/improvements/i/cancel").header("origin", "http://evil.example");
    assert_eq!(answer(page).problem(), "misdirected-host", "a page elsewhere makes a browser post here");
    let docs = dev.request("GET", "/ready").header("origin", format!("http://127.0.0.1:{}", dev.api));
    assert_eq!(answer(docs).status, 200);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass";
    assert_eq!(dev.sql(partitions), "4");
    // PostgreSQL of Debian comes with the library.
    let named = "SELECT count(*) > 0 FROM pg_stat_statements WHERE query LIKE '/* dgm:feed_poll */%'";
    assert_eq!(dev.sql(named), "t");

    let second = command(directory.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another dgm process"));

    // A schema behind the binary is not ready, and says what to do.
    assert!(dev.dgm(&["migrate", "down", "--to", "9", "--yes"]).status.success());
    let behind = dev.get("/ready");
    assert_eq!((behind.status, behind.problem()), (503, "not-ready"));
    assert!(behind.body["detail"].as_str().unwrap().contains("dgm migrate up"), "{behind:?}");

    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal(Signal::INT), Some(0));
    let dev = Dev::start(directory.path(), &[]);
    assert_eq!(dev.sql("SELECT subject FROM users"), "kept");
    dev.get("/ready").expect(200);
}

#[test]
fn it_takes_over_the_server_of_a_killed_owner() {
    let directory = tempfile::tempdir().unwrap();
    make_traversable(directory.path());
    let mut dev = Dev::start(directory.path(), &[]);
    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal(Signal::KILL), None);
    let mut next = Dev::start(directory.path(), &[]);
    assert_eq!(next.sql("SELECT subject FROM users"), "kept");
    assert_eq!(next.signal(Signal::TERM), Some(0));
}
