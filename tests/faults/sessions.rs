//! Sessions that end under load, and a primary that fails over to its standby.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::replica::follow;
use crate::support::run::{password, subfolder};
use crate::support::serve::Serve;
use crate::support::stream::Stream;
use crate::support::{Database, dgm, setting, sql, stdout, until};

fn entry(id: &str) -> Value {
    json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1})
}

#[test]
fn requests_under_load_survive_the_end_of_all_sessions() {
    let database = Database::ready();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    let all = setting("DGM_TEST_SESSIONS", 2000);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= all {
                        break;
                    }
                    let call = |method: &str, path: &str, body: Option<Value>| {
                        (
                            format!("{method} {path}"),
                            serve.call(method, &format!("/api/v1/{path}"), body.as_ref()).status,
                        )
                    };
                    let (what, status) = match n % 5 {
                        0 => call("GET", "archive?service=s&limit=5", None),
                        1 => call("POST", "archive", Some(entry(&format!("{n}")))),
                        2 => call(
                            "POST",
                            "metrics",
                            Some(json!({"service_name": "s", "metric_type": "m", "metric_value": n})),
                        ),
                        3 => call("GET", "archive/stats?service=s", None),
                        _ => ("/ready".to_owned(), serve.operations("/ready").send().unwrap().status().as_u16()),
                    };
                    if status >= 400 {
                        failed.lock().unwrap().push((what, status));
                    }
                }
            });
        }
        // Five times while it runs.
        for part in 1..6 {
            until("a part of the requests is done", || next.load(Ordering::Relaxed) >= part * all / 6);
            database.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'dgm%'",
            );
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {all}: {:?}", failed.len(), failed.iter().take(5).collect::<Vec<_>>());
    let stored = database.sql("SELECT count(*) FROM dgm_archive").parse::<usize>().unwrap();
    assert_eq!(stored, all / 5);
}

#[test]
fn connections_go_to_the_server_that_accepts_writes() {
    let primary = Database::own("it fails over to its standby", &[("wal_level", "replica"), ("max_connections", "60")]);
    let directory = subfolder();
    let standby = follow(&primary, directory.path());
    let (of_primary, of_standby) = (primary.port(), standby.port());
    // The standby is named first; for reads that may be behind, the primary is.
    let url = |first: u16, second: u16| {
        format!("postgres://dgm:{}@127.0.0.1:{first},127.0.0.1:{second}/{}", password(), primary.name())
    };
    let (writes, reads) = (url(of_standby, of_primary), url(of_primary, of_standby));
    let standby_url = standby.url(primary.name());
    let mut serve = Serve::start_with(&primary, "", &[("DATABASE_URL", &writes), ("DATABASE_REPLICA_URL", &reads)]);
    serve.token = primary.token("worker");
    let improvement = json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"});
    serve.call("POST", "/api/v1/improvements", Some(&improvement)).expect(201);
    let stream = Stream::open(serve.request("GET", "/api/v1/improvements/i/events"));
    assert_eq!(stream.next().event, "queued");
    let create = |id: &str| serve.call("POST", "/api/v1/archive", Some(&entry(id))).status;
    assert_eq!(create("before"), 201);
    until("reads go to the standby", || {
        serve.call("GET", "/api/v1/archive?service=s", None).expect(200);
        serve.count("dgm_db_reads_total{source=\"replica\"}") > 0
    });
    assert!(stdout(&dgm(&writes, &["token", "list"])).contains("worker"));
    until("the standby has it", || sql(&standby_url, "SELECT count(*) FROM dgm_archive") == "1");
    until("the stream waits", || serve.metric("dgm_hub_subscriptions ") == Some(1.0));

    drop(primary);
    // No server accepts writes now, which is said at once and for each.
    until("the loss is noticed", || create("during") == 503);
    let none = dgm(&writes, &["migrate", "status"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    let expected = [format!("127.0.0.1:{of_standby} is a standby"), format!("127.0.0.1:{of_primary}: ")];
    assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    sql(&standby_url, "SELECT pg_promote()");
    until("the standby takes the writes", || create("after") == 201);
    for n in 0..20 {
        assert_eq!(create(&format!("later-{n}")), 201);
    }
    // The stream stayed open and follows the new server.
    sql(&standby_url, "UPDATE dgm_improvements SET status = 'cancelled', completed_at = now()");
    assert_eq!(stream.rest().iter().map(|event| event.event.as_str()).collect::<Vec<_>>(), ["cancelled"]);
    std::thread::sleep(Duration::from_millis(100));
    let ids = serve.call("GET", "/api/v1/archive?service=s&limit=100", None).ids("archive_entry_id");
    assert!(ids.contains(&"before".to_owned()) && ids.len() >= 22, "{ids:?}");
}
