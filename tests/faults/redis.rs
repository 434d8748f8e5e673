//! Two replicas on a Redis that goes away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::{Database, Slowdown, until};

#[test]
fn two_replicas_share_redis_and_neither_needs_it() {
    check(Redis::own("killed"));
}

#[test]
fn two_replicas_share_a_redis_cluster_and_neither_needs_it() {
    check(Redis::start_cluster());
}

fn check(mut redis: Redis) {
    let database = Database::migrated();
    let token = database.token("operator");
    let mut one = Serve::start(&database, &redis.url());
    let mut two = Serve::start(&database, &redis.url());
    assert_eq!(one.call("GET", "/api/v1/archive", None).status, 401, "serve always asks");
    one.token.clone_from(&token);
    two.token = token;

    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1.0});
    one.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
    let read = |serve: &Serve| serve.call("GET", "/api/v1/archive/e", None).expect(200)["accuracy_score"].clone();
    assert_eq!(read(&one), 0.5);
    // The other replica finds the finished bytes in Redis; on a busy machine not those of every entry, since a read waits
    // for Redis for some milliseconds only.
    assert_eq!(read(&two), 0.5);
    let hits = || two.count("dgm_cache_requests_total{class=\"entry\",tier=\"l2\",result=\"hit\"}");
    let mut more = 0;
    until("it finds one in Redis", || {
        if hits() == 0 {
            more += 1;
            let mut another = entry.clone();
            another["archive_entry_id"] = json!(format!("e{more}"));
            one.call("POST", "/api/v1/archive", Some(&another)).expect(201);
            for replica in [&one, &two] {
                replica.call("GET", &format!("/api/v1/archive/e{more}"), None).expect(200);
            }
        }
        hits() > 0
    });
    until("Redis is up", || two.metric("dgm_cache_redis_up") == Some(1.0));
    until("it is ready", || two.call("GET", "/ready", None).expect(200)["redis"] == "up");
    // A session opened at one is known to the other.
    let session = one.insist("POST", "/api/v1/sessions").expect(201)["session_token"].clone();
    let operator = std::mem::replace(&mut two.token, session.as_str().unwrap().to_owned());
    assert_eq!(two.insist("GET", "/api/v1/sessions/current").expect(200)["name"], "operator");
    two.token = operator;

    // A change is seen at once where it was made, and within the bound by the other.
    one.call("PATCH", "/api/v1/archive/e", Some(&json!({"accuracy_score": 0.75}))).expect(200);
    assert_eq!(read(&one), 0.75);
    let deadline = Instant::now() + dgm_service::cache::ttl::IN_PROCESS.mul_f64(1.1) + Duration::from_secs(1);
    loop {
        let past_the_bound = Instant::now() > deadline;
        if read(&two) == 0.75 {
            break;
        }
        assert!(!past_the_bound, "a stale entry past the bound");
        std::thread::sleep(Duration::from_millis(50));
    }

    // Redis goes away: everything goes on, and readiness says so.
    redis.kill();
    let slowdown = Slowdown::watch();
    for n in 0..20 {
        let started = Instant::now();
        one.call("PATCH", "/api/v1/archive/e", Some(&json!({"accuracy_score": f64::from(n) / 100.0}))).expect(200);
        assert_eq!(read(&one), f64::from(n) / 100.0);
        assert!(started.elapsed() < slowdown.stretch(Duration::from_secs(2)), "a request waited for Redis");
    }
    assert_eq!(one.call("GET", "/ready", None).expect(200)["status"], "degraded");
    // Nobody knows whose a session is that this process did not see within seconds; it is not told to be unknown.
    let operator = std::mem::replace(&mut one.token, session.as_str().unwrap().to_owned());
    let answer = || one.call("GET", "/api/v1/sessions/current", None);
    until("what it saw is forgotten", || answer().status != 200);
    assert_eq!(answer().problem(), "unavailable");
    one.token = operator;
    assert_eq!(one.call("POST", "/api/v1/sessions", None).status, 503, "it would be forgotten within seconds");
    assert_eq!(one.metric("dgm_cache_redis_up"), Some(0.0));
    redis.restart_empty();
    until("Redis is back and used", || {
        one.call("GET", "/api/v1/archive/e", None).expect(200);
        one.call("GET", "/ready", None).expect(200)["redis"] == "up"
    });
}
