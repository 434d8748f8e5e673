//! Reads that may be behind, with a streaming replica that falls behind and goes away.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dgm_service::postgres::Server;
use serde_json::json;

use crate::support::run::{password, subfolder};
use crate::support::serve::Serve;
use crate::support::{Database, make_traversable, sql, until};

const FROM_REPLICA: &str = "dgm_db_reads_total{source=\"replica\"}";
const FROM_PRIMARY: &str = "dgm_db_reads_total{source=\"primary\"}";

/// A copy of the primary that follows it.
pub(super) fn follow(primary: &Database, directory: &Path) -> Server {
    make_traversable(directory);
    let mut copy = if std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        // The servers run under this account then, and so must the files be its own.
        assert!(Command::new("chown").arg("postgres").arg(directory).status().unwrap().success());
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "pg_basebackup"]);
        command
    } else {
        Command::new("pg_basebackup")
    };
    let output = copy.args(["-R", "-X", "stream", "-d", &primary.url(), "-D"]).arg(directory.join("pgdata")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Server::start(directory, &[("fsync", "off"), ("max_connections", "60")]).unwrap()
}

#[test]
fn a_replica_answers_while_it_is_not_too_far_behind() {
    let primary = Database::own("it has a streaming replica", &[("wal_level", "replica"), ("max_connections", "60")]);
    let directory = subfolder();
    let replica = follow(&primary, directory.path());
    // By TCP: a connection that is refused is tried until its time is over, and that is counted below.
    let url = format!("postgres://dgm:{}@127.0.0.1:{}/{}", password(), replica.port(), primary.name());
    let mut serve = Serve::start_with(&primary, "", &[("DATABASE_REPLICA_URL", &url)]);
    serve.token = primary.token("worker");
    let create = |id: &str| {
        let entry = json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p",
            "accuracy_score": 0.5, "constitutional_compliance_score": 1});
        serve.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
    };
    let list = || serve.call("GET", "/api/v1/archive?service=s", None).ids("archive_entry_id");
    // Asks until a read goes there, and answers what it said.
    let read_from = |source: &str| {
        let mut ids = Vec::new();
        until(&format!("a read goes to {source}"), || {
            let before = serve.count(source);
            ids = list();
            serve.count(source) > before
        });
        ids
    };

    create("one");
    read_from(FROM_REPLICA);
    until("the replica follows", || list() == ["one"]);
    until("it is said not to be late", || serve.metric("dgm_db_replica_lag_seconds").unwrap() < 1.5);

    // It falls behind: within the bound it may answer, beyond it must not.
    sql(&url, "SELECT pg_wal_replay_pause()");
    create("two");
    std::thread::sleep(Duration::from_millis(1300));
    let before = serve.count(FROM_REPLICA);
    for _ in 0..20 {
        assert_eq!(list(), ["two", "one"], "an answer from before more than the bound");
    }
    assert_eq!(serve.count(FROM_REPLICA), before);
    sql(&url, "SELECT pg_wal_replay_resume()");
    assert_eq!(read_from(FROM_REPLICA), ["two", "one"]);
    // The primary knows of it, and that it takes some time to replay.
    let operator = primary.token("operator");
    until("the primary tells of its standby", || {
        primary.sql("SELECT pg_logical_emit_message(true, '', 'something to replay')");
        let path = format!("http://{}/api/v1/admin/jobs/collect-health/run", serve.api);
        let client = reqwest::blocking::Client::new();
        assert!(client.post(path).bearer_auth(&operator).send().unwrap().status().is_success());
        let lag = serve.metric("dgm_db_standby_lag_seconds ").unwrap();
        serve.count("dgm_db_standbys ") == 1 && lag > 0.0
    });

    // Its pool is one of its own.
    assert_eq!(serve.metric("dgm_db_pool_connections_max{pool=\"replica\"}"), Some(16.0));
    assert!(serve.metric("dgm_db_pool_connections{pool=\"replica\",state=\"idle\"}").is_some());
    let timeouts = |pool: &str| serve.count(&format!("dgm_db_pool_timeouts_total{{pool=\"{pool}\"}}"));
    assert_eq!(timeouts("replica"), 0);

    // It goes away: no request fails, and it is told of what.
    drop(replica);
    until("the primary misses its standby", || {
        let path = format!("http://{}/api/v1/admin/jobs/collect-health/run", serve.api);
        let client = reqwest::blocking::Client::new();
        assert!(client.post(path).bearer_auth(&operator).send().unwrap().status().is_success());
        serve.count("dgm_db_standbys ") == 0
    });
    assert_eq!(serve.metric("dgm_db_standbys_expected "), Some(1.0));
    assert!(serve.metric("dgm_db_standby_lag_seconds ").unwrap().is_nan(), "not 0: what is missing is not healthy");
    for _ in 0..20 {
        assert_eq!(list(), ["two", "one"]);
    }
    read_from(FROM_PRIMARY);
    until("it is tried in vain", || timeouts("replica") > 1);
    assert_eq!(["read", "write", "lock"].map(timeouts), [0; 3]);
}
