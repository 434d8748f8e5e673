//! API tokens that are unknown, created and revoked elsewhere, with the change feed and without it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dgm_service::domain::identity::{TOKEN_PREFIX, secret};
use dgm_service::service::identity::REVOCATION;
use rustix::process::Signal;
use serde_json::json;

use crate::support::serve::Serve;
use crate::support::{Database, signal, soon, until};

const FEED: &str =
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dgm-feed'";

fn status(serve: &Serve, token: &str) -> u16 {
    serve.request_as(token, "GET", "/api/v1/archive?limit=1").send().unwrap().status().as_u16()
}

/// Statements so far, by name.
fn statements(serve: &Serve) -> HashMap<String, u64> {
    let text = serve.metrics();
    let of = |line: &str| {
        let (name, count) =
            line.strip_prefix("dgm_db_statement_duration_seconds_count{statement=\"")?.split_once("\"} ")?;
        Some((name.to_owned(), count.parse().unwrap()))
    };
    text.lines().filter_map(of).collect()
}

fn serves(database: &Database, replicas: usize) -> Vec<Serve> {
    let start = |_| Serve::start_with(database, "", &[("DGM__JOBS__ENABLED", "false")]);
    (0..replicas).map(start).collect()
}

#[test]
fn a_flood_of_unknown_tokens_causes_no_query() {
    let database = Database::ready();
    let serve = serves(&database, 1).remove(0);
    let known = database.token("reader");
    assert_eq!(status(&serve, &known), 200);
    let before = statements(&serve);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500 {
                    // Half of them do not even look like one.
                    let token = if n % 2 == 0 { secret(TOKEN_PREFIX) } else { format!("guess{}", secret("")) };
                    assert_eq!(status(&serve, &token), 401);
                }
            });
        }
    });
    let after = statements(&serve);
    let more = |name: &str| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
    let all: u64 = after.keys().filter(|name| *name != "feed_poll").map(|name| more(name)).sum();
    assert_eq!((more("token_load"), more("token_state")), (0, 0));
    // Jobs of the process run meanwhile.
    assert!(all < 100, "{before:?} {after:?}");
    assert_eq!(serve.count("dgm_auth_failures_total{reason=\"unknown\"}"), 2000);
    // Nobody else waits for them.
    assert_eq!(status(&serve, &known), 200);
    let during = database.token("worker");
    soon("a token that is created during a flood is accepted", REVOCATION, || status(&serve, &during) == 200);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(status(&serve, &database.token("operator")), 200, "one that is created a second later, at once");
}

#[test]
fn tokens_of_other_processes_are_accepted_at_once_and_revoked_within_a_second() {
    let database = Database::ready();
    let replicas = serves(&database, 2);
    let admin = database.token("admin");
    for replica in &replicas {
        assert_eq!(status(replica, &admin), 200);
    }
    // By another process, and by another replica.
    let made = replicas[0].request_as(&admin, "POST", "/api/v1/admin/tokens");
    let made =
        made.json(&json!({"name": "made", "role": "reader"})).send().unwrap().json::<serde_json::Value>().unwrap();
    let tokens = [("reader", database.token("reader")), ("made", made["token"].as_str().unwrap().to_owned())];
    for (_, token) in &tokens {
        for replica in &replicas {
            assert_eq!(status(replica, token), 200);
        }
    }
    assert!(database.dgm(&["token", "revoke", "reader"]).status.success());
    let path = "/api/v1/admin/tokens/made";
    let revoked = replicas[0].request_as(&admin, "DELETE", path).send().unwrap();
    assert_eq!((revoked.status().as_u16(), status(&replicas[0], &tokens[1].1)), (204, 401), "here at once");
    for (name, token) in &tokens {
        soon(&format!("{name} is refused"), REVOCATION, || {
            replicas.iter().all(|replica| status(replica, token) == 401)
        });
    }
    // What else an operator may do to a token, by hand.
    database.sql("UPDATE dgm_api_tokens SET role = 'reader' WHERE name = 'admin'");
    soon("its role is another", REVOCATION, || {
        let list = |replica: &Serve| replica.request_as(&admin, "GET", "/api/v1/admin/tokens").send().unwrap();
        replicas.iter().all(|replica| list(replica).status() == 403)
    });
    database.sql("DELETE FROM dgm_api_tokens WHERE name = 'admin'");
    soon("it is gone", REVOCATION, || replicas.iter().all(|replica| status(replica, &admin) == 401));
}

#[test]
fn without_the_feed_the_database_is_asked_at_a_bounded_rate() {
    let database = Database::ready();
    let serve = serves(&database, 1).remove(0);
    let (reader, worker) = (database.token("reader"), database.token("worker"));
    assert_eq!((status(&serve, &reader), status(&serve, &worker)), (200, 200));
    let feed: i32 = database.sql(FEED).parse().unwrap();
    // Its connection stays open and answers nothing.
    signal(u32::try_from(feed).unwrap(), Signal::STOP).unwrap();
    let stopped = Instant::now();
    assert!(database.dgm(&["token", "revoke", "reader"]).status.success());
    soon("it is refused", REVOCATION, || status(&serve, &reader) == 401);
    let new = database.token("operator");
    soon("the new one is accepted", REVOCATION, || status(&serve, &new) == 200);
    let before = statements(&serve);
    let mut unknown = 0;
    while stopped.elapsed() < Duration::from_secs(6) {
        assert_eq!((status(&serve, &secret(TOKEN_PREFIX)), status(&serve, &worker)), (401, 200));
        unknown += 1;
        // The next connection of the feed is stopped, too.
        for pid in database.sql(FEED).lines() {
            let _ = signal(pid.parse().unwrap(), Signal::STOP);
        }
    }
    let after = statements(&serve);
    let asked: u64 = ["token_load", "token_state"]
        .map(|name| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0))
        .iter()
        .sum();
    assert!(asked <= 8 && unknown > 8, "{asked} statements for {unknown} unknown tokens");
    for pid in database.sql(FEED).lines().chain([feed.to_string().as_str()]) {
        let _ = signal(pid.parse().unwrap(), Signal::CONT);
    }
    until("the feed is back", || serve.metric("dgm_cache_confirmed_age_seconds").is_some_and(|age| age < 1.0));
}

#[test]
fn without_its_row_the_feed_confirms_nothing_and_tokens_are_loaded() {
    let database = Database::ready();
    let serve = serves(&database, 1).remove(0);
    let reader = database.token("reader");
    assert_eq!(status(&serve, &reader), 200);
    database.sql("DELETE FROM dgm_archive_feed");
    assert!(database.dgm(&["token", "revoke", "reader"]).status.success());
    soon("it is refused", REVOCATION, || status(&serve, &reader) == 401);
}

#[test]
fn an_event_stream_ends_with_the_token_or_session_of_its_reader() {
    let database = Database::ready();
    let mut serve = serves(&database, 1).remove(0);
    serve.token = database.token("operator");
    let improvement = json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"});
    serve.call("POST", "/api/v1/improvements", Some(&improvement)).expect(201);
    let reader = database.token("reader");
    let session = serve.request_as(&reader, "POST", "/api/v1/sessions").send().unwrap();
    let session = session.json::<serde_json::Value>().unwrap()["session_token"].as_str().unwrap().to_owned();
    let read = |token: String| {
        let stream = serve.request_as(&token, "GET", "/api/v1/improvements/i/events").send().unwrap();
        assert_eq!(stream.status(), 200);
        std::thread::spawn(move || stream.text().unwrap())
    };
    let (by_token, by_session, other) = (read(reader), read(session), read(serve.token.clone()));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!by_token.is_finished() && !by_session.is_finished());
    assert!(database.dgm(&["token", "revoke", "reader"]).status.success());
    soon("the stream of the token ends", REVOCATION, || by_token.is_finished());
    soon("the stream of the session ends", REVOCATION, || by_session.is_finished());
    assert!(by_token.join().unwrap().contains("queued"));
    assert!(!other.is_finished(), "those of others go on");
}
