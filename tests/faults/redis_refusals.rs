//! A Redis that refuses logins, writes or INFO: the service recovers without a restart, and acknowledges nothing that was not stored.

use std::path::Path;
use std::time::Duration;

use ::redis::{Client, Value, cmd};
use serde_json::Value as Json;

use crate::support::redis::Redis;
use crate::support::serve::{LOG_DIR, Serve};
use crate::support::{Database, soon, until};

const REASON: &str = "its users, memory, role and snapshot are changed";
const RECOVERY: Duration = Duration::from_secs(4);

fn ports(redis: &Redis) -> Vec<u16> {
    redis.url().split([':', ',', '/']).filter_map(|part| part.parse().ok()).collect()
}

/// Runs a command at a node that asks for a password.
fn ask(port: u16, password: &str, command: &[&str]) {
    let client = Client::open(format!("redis://:{password}@127.0.0.1:{port}")).unwrap();
    let mut connection = client.get_connection().unwrap();
    cmd(command[0]).arg(&command[1..]).query::<Value>(&mut connection).unwrap();
}

fn serve(database: &Database, redis: &str, settings: &[(&str, &str)]) -> Serve {
    let mut serve = Serve::start_with(database, redis, settings);
    serve.token = database.token("operator");
    serve
}

fn ready(serve: &Serve) -> Json {
    serve.operations("/ready").send().unwrap().json().unwrap()
}

fn is(serve: &Serve, redis: &str) -> bool {
    ready(serve)["redis"] == redis
}

fn opens_sessions(serve: &Serve) {
    let session = serve.insist("POST", "/api/v1/sessions").expect(201)["session_token"].clone();
    let status = || {
        let request = serve.request_as(session.as_str().unwrap(), "GET", "/api/v1/sessions/current");
        request.send().unwrap().status().as_u16()
    };
    until("the session is accepted", || status() == 200);
}

#[test]
fn a_failed_login_is_tried_again() {
    recovers_from_another_password(&Redis::own(REASON));
}

#[test]
fn a_failed_login_to_a_cluster_is_tried_again() {
    recovers_from_another_password(&Redis::start_cluster());
}

/// The password is another for a while, and every connection is cut meanwhile.
fn recovers_from_another_password(redis: &Redis) {
    let database = Database::ready();
    redis.each_node(|_, command| command(&["CONFIG", "SET", "masterauth", "first"]));
    redis.each_node(|_, command| command(&["CONFIG", "SET", "requirepass", "first"]));
    let serve = serve(&database, &redis.url().replace("://", "://:first@"), &[]);
    until("Redis is up", || is(&serve, "up"));
    opens_sessions(&serve);
    for port in ports(redis) {
        ask(port, "first", &["CONFIG", "SET", "requirepass", "other"]);
        ask(port, "other", &["CLIENT", "KILL", "TYPE", "normal"]);
    }
    until("Redis is down", || is(&serve, "down"));
    let refused = serve.call("POST", "/api/v1/sessions", None);
    assert_eq!((refused.status, refused.problem()), (503, "unavailable"));
    std::thread::sleep(Duration::from_secs(2));
    for port in ports(redis) {
        ask(port, "other", &["CONFIG", "SET", "requirepass", "first"]);
    }
    soon("Redis is up again", RECOVERY, || is(&serve, "up"));
    opens_sessions(&serve);
}

#[test]
fn a_user_that_is_created_after_the_start_is_accepted() {
    let (database, redis) = (Database::ready(), Redis::own(REASON));
    let serve = serve(&database, &redis.url().replace("://", "://worker:secret@"), &[]);
    until("Redis is down", || is(&serve, "down"));
    // With another password the login still fails.
    redis.command(&["ACL", "SETUSER", "worker", "on", ">another", "~*", "+@all"]);
    std::thread::sleep(Duration::from_secs(1));
    assert!(is(&serve, "down"));
    redis.command(&["ACL", "SETUSER", "worker", ">secret"]);
    soon("Redis is up", RECOVERY, || is(&serve, "up"));
    opens_sessions(&serve);
    // A refusal of PING is an answer.
    redis.command(&["ACL", "SETUSER", "worker", "-ping"]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(is(&serve, "up"));
    opens_sessions(&serve);
}

#[test]
fn one_that_starts_after_the_service_and_loads_its_data_is_used() {
    let database = Database::ready();
    let slow = ["--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"];
    let mut redis = Redis::own_with(REASON, &slow);
    for key in 0..400 {
        redis.command(&["SET", &format!("key{key}"), &"x".repeat(100)]);
    }
    let snapshot = redis.snapshot();
    redis.kill();
    let serve = serve(&database, &redis.url(), &[]);
    until("Redis is down", || is(&serve, "down"));
    redis.restart_with(&snapshot);
    let loads = || redis.command(&["INFO", "persistence"]).contains("\nloading:1");
    assert!(loads() && is(&serve, "down"), "it loads its data");
    until("it has loaded its data", || !loads());
    soon("Redis is up", RECOVERY, || is(&serve, "up"));
    opens_sessions(&serve);
}

struct Refusal<'a> {
    reason: &'a str,
    code: &'a str,
    begin: Vec<&'a str>,
    end: Vec<&'a str>,
}

fn logged(folder: &Path, message: &str) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    files.map(|text| text.matches(message).count()).sum()
}

/// A snapshot that cannot take its place, since that is a folder.
fn fail_snapshot(redis: &Redis) {
    let folder = redis.command(&["CONFIG", "GET", "dir"]).lines().last().unwrap().to_owned();
    std::fs::create_dir_all(Path::new(&folder).join("dump.rdb/taken")).unwrap();
    redis.command(&["CONFIG", "SET", "save", "3600 1"]);
    redis.command(&["BGSAVE"]);
    until("the snapshot fails", || redis.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err"));
}

#[test]
fn a_session_that_was_not_stored_is_not_acknowledged() {
    let (database, redis, logs) = (Database::ready(), Redis::own(REASON), tempfile::tempdir().unwrap());
    let serve = serve(&database, &redis.url(), &[(LOG_DIR, logs.path().to_str().unwrap())]);
    until("Redis is up", || is(&serve, "up"));
    let refusals = [
        Refusal {
            reason: "memory",
            code: "OOM",
            begin: vec!["CONFIG", "SET", "maxmemory", "1"],
            end: vec!["CONFIG", "SET", "maxmemory", "0"],
        },
        Refusal {
            reason: "read_only",
            code: "READONLY",
            begin: vec!["REPLICAOF", "127.0.0.1", "1"],
            end: vec!["REPLICAOF", "NO", "ONE"],
        },
        Refusal {
            reason: "permission",
            code: "NOPERM",
            begin: vec!["ACL", "SETUSER", "default", "-set"],
            end: vec!["ACL", "SETUSER", "default", "+set"],
        },
        Refusal {
            reason: "replicas",
            code: "NOREPLICAS",
            begin: vec!["CONFIG", "SET", "min-replicas-to-write", "1"],
            end: vec!["CONFIG", "SET", "min-replicas-to-write", "0"],
        },
        Refusal {
            reason: "persistence",
            code: "MISCONF",
            begin: vec!["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"],
            end: vec!["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"],
        },
    ];
    for (number, Refusal { reason, code, begin, end }) in refusals.iter().enumerate() {
        if *reason == "persistence" {
            fail_snapshot(&redis);
        }
        redis.command(begin);
        for _ in 0..3 {
            let answer = serve.call("POST", "/api/v1/sessions", None);
            assert_eq!((answer.status, answer.problem()), (503, "unavailable"), "{reason}");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(code) && !detail.contains("database"), "{detail}");
        }
        let state = ready(&serve);
        assert_eq!((&state["status"], &state["redis"]), (&"degraded".into(), &"refuses_writes".into()), "{state}");
        assert!(state["detail"].as_str().unwrap().contains(code), "{state}");
        assert!(serve.count(&format!("dgm_cache_redis_write_failures_total{{reason=\"{reason}\"}}")) >= 3);
        assert_eq!(serve.metric("dgm_cache_redis_writable"), Some(0.0));
        assert_eq!(serve.metric("dgm_cache_redis_up"), Some(1.0), "{reason}: it answers");
        redis.command(end);
        soon("writes are accepted again", RECOVERY, || is(&serve, "up"));
        assert_eq!((&ready(&serve)["status"], serve.metric("dgm_cache_redis_writable")), (&"ready".into(), Some(1.0)));
        opens_sessions(&serve);
        until("each transition is logged", || logged(logs.path(), "Redis accepts writes again") == number + 1);
        assert_eq!(logged(logs.path(), "Redis refuses writes"), number + 1, "once, not for each request");
    }
}

#[test]
fn a_session_that_was_not_deleted_is_not_acknowledged_as_closed() {
    let (database, redis) = (Database::ready(), Redis::own(REASON));
    let (mut one, two) = (serve(&database, &redis.url(), &[]), Serve::start(&database, &redis.url()));
    for replica in [&one, &two] {
        until("Redis is up", || is(replica, "up"));
    }
    let session = one.insist("POST", "/api/v1/sessions").expect(201)["session_token"].as_str().unwrap().to_owned();
    one.token.clone_from(&session);
    redis.command(&["ACL", "SETUSER", "default", "-del"]);
    assert_eq!(one.call("DELETE", "/api/v1/sessions/current", None).status, 503);
    assert!(is(&one, "refuses_writes"));
    assert!(!redis.command(&["KEYS", "*:session"]).is_empty(), "the other replica still accepts it");
    redis.command(&["ACL", "SETUSER", "default", "+del"]);
    soon("the deletion is repeated", RECOVERY, || redis.command(&["KEYS", "*:session"]).is_empty());
    soon("it is over", RECOVERY, || is(&one, "up"));
    assert_eq!(one.call("GET", "/api/v1/sessions/current", None).status, 401);
    let answer = two.request_as(&session, "GET", "/api/v1/archive").send().unwrap();
    assert_eq!(answer.status(), 401);
}

#[test]
fn a_missing_permission_for_info_is_reported() {
    let (database, redis, logs) = (Database::ready(), Redis::own(REASON), tempfile::tempdir().unwrap());
    let serve = serve(&database, &redis.url(), &[(LOG_DIR, logs.path().to_str().unwrap())]);
    until("Redis is up", || is(&serve, "up"));
    let collect = || {
        let answer = serve.call("POST", "/api/v1/admin/jobs/collect-health/run", None);
        assert!(answer.status < 300, "{}", answer.status);
    };
    let until_info = |up: f64| {
        until("INFO is asked for", || {
            collect();
            serve.metric("dgm_redis_info_up") == Some(up)
        });
    };
    until_info(1.0);
    redis.command(&["ACL", "SETUSER", "default", "-info"]);
    until_info(0.0);
    collect();
    assert_eq!(ready(&serve)["redis"], "up", "nothing else is affected");
    redis.command(&["ACL", "SETUSER", "default", "+info"]);
    until_info(1.0);
    until("it is logged", || logged(logs.path(), "Redis answers INFO again") == 1);
    assert_eq!(logged(logs.path(), "Redis refuses INFO"), 1);
}
