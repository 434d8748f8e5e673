use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader};
use std::sync::Barrier;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::service::Service;
use crate::support::{PATIENCE, until};

fn queue(api: &Service, id: &str) {
    let body = json!({"improvement_id": id, "service_name": "agent", "problem_statement": "faster"});
    assert_eq!(api.post("/api/v1/improvements", &body).expect(201)["status"], "queued");
}

fn claim(api: &Service, worker: &str, lease: u32) -> Option<(String, String)> {
    let wish = json!({"worker": worker, "lease_seconds": lease});
    let claimed = api.post("/api/v1/improvements:claim", &wish).expect(200);
    let item = claimed["items"].get(0)?;
    Some((item["improvement_id"].as_str()?.to_owned(), item["lease_token"].as_str()?.to_owned()))
}

/// Claims with each of the wishes from a thread of its own, all at once, until nothing is left for it; what each got, claim by
/// claim.
fn claim_all(api: &Service, wishes: &[Value]) -> Vec<Vec<Vec<String>>> {
    let start = Barrier::new(wishes.len());
    std::thread::scope(|scope| {
        let claimers: Vec<_> = (wishes.iter())
            .map(|wish| {
                let start = &start;
                scope.spawn(move || {
                    let mut got = Vec::new();
                    start.wait();
                    loop {
                        let claimed = api.post("/api/v1/improvements:claim", wish).expect(200);
                        let items = claimed["items"].as_array().unwrap();
                        assert!(items.iter().all(|item| item["worker"] == wish["worker"]), "{claimed}");
                        if items.is_empty() {
                            return got;
                        }
                        got.push(ids(&claimed));
                    }
                })
            })
            .collect();
        claimers.into_iter().map(|claimer| claimer.join().unwrap()).collect()
    })
}

/// The improvements of an answer to a claim.
fn ids(claimed: &Value) -> Vec<String> {
    let items = claimed["items"].as_array().unwrap();
    items.iter().map(|item| item["improvement_id"].as_str().unwrap().to_owned()).collect()
}

fn act(api: &Service, id: &str, verb: &str, mut body: Value, token: &str) -> Answer {
    if !token.is_empty() {
        body["lease_token"] = json!(token);
    }
    api.post(&format!("/api/v1/improvements/{id}/{verb}"), &body)
}

#[test]
fn a_whole_life_ends_in_the_archive_and_can_be_followed() {
    let api = Service::open();
    let root = json!({"archive_entry_id": "root", "service_name": "agent", "problem_statement": "p",
        "accuracy_score": 0.5, "constitutional_compliance_score": 1.0});
    api.post("/api/v1/archive", &root).expect(201);
    let wish = json!({"improvement_id": "i", "service_name": "agent", "problem_statement": "faster",
        "parent_entry_id": "root", "priority": "high"});
    api.post("/api/v1/improvements", &wish).expect(201);
    api.post("/api/v1/improvements", &wish).expect(200);
    let other = json!({"improvement_id": "i", "service_name": "agent", "problem_statement": "slower"});
    assert_eq!(api.post("/api/v1/improvements", &other).problem(), "already-exists");

    let (id, token) = claim(&api, "w1", 60).unwrap();
    assert_eq!(id, "i");
    assert!(claim(&api, "w2", 60).is_none(), "there was one");
    let alive = act(&api, "i", "heartbeat", json!({"lease_seconds": 3600}), &token).expect(200);
    let end = |improvement: &Value| {
        improvement["lease_expires_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>()
    };
    let started: chrono::DateTime<chrono::Utc> = alive["started_at"].as_str().unwrap().parse().unwrap();
    assert_eq!((end(&alive).unwrap() - started).num_seconds(), 1800, "no lease outlives max_improvement_time");
    act(&api, "i", "progress", json!({"progress": 40, "message": "compiling"}), &token).expect(200);
    let stranger = act(&api, "i", "progress", json!({"progress": 41}), "00000000-0000-4000-8000-000000000000");
    assert_eq!((stranger.status, stranger.problem()), (409, "lease-lost"));

    let result = json!({"results": {"took": 3}, "archive_entry": {"archive_entry_id": "child", "accuracy_score": 0.7,
        "constitutional_compliance_score": 0.9, "solution_patch": "--- a\n+++ b\n"}});
    let broken = json!({"archive_entry": {"accuracy_score": 1.7, "constitutional_compliance_score": 0.9}});
    let refused = act(&api, "i", "complete", broken, &token);
    assert_eq!(refused.body["errors"][0]["pointer"], "/archive_entry/accuracy_score");
    let orphan = json!({"archive_entry": {"parent_entry_id": "none", "accuracy_score": 0.7,
        "constitutional_compliance_score": 0.9}});
    assert_eq!(act(&api, "i", "complete", orphan, &token).problem(), "unknown-reference");
    assert_eq!(api.get("/api/v1/improvements/i").expect(200)["status"], "running", "a refused result changes nothing");
    let done = act(&api, "i", "complete", result.clone(), &token).expect(200);
    assert_eq!((&done["status"], &done["archive_entry_id"]), (&json!("completed"), &json!("child")));
    assert_eq!(act(&api, "i", "complete", result, &token).expect(200), done, "a repeated call is harmless");
    let child = api.get("/api/v1/archive/child").expect(200);
    assert_eq!((&child["parent_entry_id"], &child["generation_number"]), (&json!("root"), &json!(1)));
    let late = act(&api, "i", "cancel", json!({}), "");
    assert_eq!((late.status, late.problem()), (409, "illegal-state"));

    let events = |after: &str| {
        let request = api.request("GET", "/api/v1/improvements/i/events").header("last-event-id", after);
        let response = request.send().unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let text = response.text().unwrap();
        text.lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect::<Vec<_>>()
    };
    // The stream ends by itself, since the improvement has ended.
    assert_eq!(events("0"), ["queued", "running", "progress", "completed"]);
    let second = api.sql("SELECT min(event_id) + 1 FROM dgm_improvement_events");
    assert_eq!(events(&second), ["progress", "completed"]);
}

#[test]
fn a_stream_that_has_nothing_more_to_tell_is_204() {
    let api = Service::open();
    queue(&api, "i");
    let get = |after: &str| {
        let request = api.request("GET", "/api/v1/improvements/i/events").timeout(PATIENCE);
        let request = if after.is_empty() { request } else { request.header("last-event-id", after) };
        request.send().unwrap()
    };
    let last = || api.sql("SELECT max(event_id) FROM dgm_improvement_events");
    // It has not ended: there is something to wait for.
    let waits = get(&last());
    assert_eq!(waits.status(), 200);
    act(&api, "i", "cancel", json!({}), "").expect(200);
    assert!(waits.text().unwrap().contains("event: cancelled"));
    for after in [last(), i64::MAX.to_string()] {
        let response = get(&after);
        assert_eq!(response.status(), 204, "after {after}");
        assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
        assert!(response.text().unwrap().is_empty());
    }
    assert!(get("").text().unwrap().ends_with("\n\n"), "all of it, and the end");
    let end = last();
    act(&api, "i", "retry", json!({}), "").expect(200);
    let again = get(&end);
    assert_eq!(again.status(), 200, "it goes on");
    act(&api, "i", "cancel", json!({}), "").expect(200);
    let text = again.text().unwrap();
    let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds, ["queued", "cancelled"]);
    // Without any event: those of a time before they were written, or removed by hand.
    api.sql("DELETE FROM dgm_improvement_events");
    assert_eq!(get("").status(), 204);
    assert_eq!(api.get("/api/v1/improvements/none/events").status, 404);
}

#[test]
fn a_long_past_is_read_in_pages_and_an_end_within_it_is_none() {
    let api = Service::open();
    queue(&api, "i");
    // Each 50th event is an end, after which the improvement was queued again.
    api.sql(
        "DELETE FROM dgm_improvement_events;
         INSERT INTO dgm_improvement_events (improvement_id, service_name, event, data)
         SELECT 'i', 's', CASE n % 50 WHEN 0 THEN 'failed' WHEN 1 THEN 'queued' ELSE 'progress' END, '{}' FROM generate_series(1, 200) n;
         UPDATE dgm_improvements SET status = 'failed', completed_at = now()",
    );
    let text = api.request("GET", "/api/v1/improvements/i/events").timeout(PATIENCE).send().unwrap().text().unwrap();
    let ids: Vec<i64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert_eq!((ids.len(), ids.is_sorted()), (201, true));
}

#[test]
fn a_silent_worker_loses_its_lease_and_another_gets_the_job() {
    let settings = [("DGM__AUTH__REQUIRED", "false"), ("DGM__JOBS__SCHEDULES", "rescue-leases=* * * * * *")];
    let api = Service::start(&settings);
    queue(&api, "i");
    let (_, old) = claim(&api, "silent", 1).unwrap();
    let mut claimed = None;
    until("it is rescued", || {
        claimed = claim(&api, "other", 60);
        claimed.is_some()
    });
    let (id, new) = claimed.unwrap();
    assert_eq!(id, "i");
    assert_ne!(new, old);
    for (verb, body) in [
        ("heartbeat", json!({})),
        ("progress", json!({"progress": 1})),
        ("complete", json!({})),
        ("fail", json!({"error_message": "x"})),
    ] {
        assert_eq!(act(&api, "i", verb, body, &old).problem(), "lease-lost", "{verb}");
    }
    let state = api.get("/api/v1/improvements/i").expect(200);
    assert_eq!((&state["worker"], &state["attempts"]), (&json!("other"), &json!(2)));
    // The last of its attempts: then it has failed for good.
    api.sql("UPDATE dgm_improvements SET attempts = max_attempts, lease_expires_at = now() - interval '1 s'");
    assert_eq!(api.get("/api/v1/improvements?stale=true").ids("improvement_id"), ["i"]);
    // The service's own run may be under way, or have been first: then there is nothing to do.
    let run = api.dgm(&["job", "run", "rescue-leases"]);
    assert!(matches!(run.status.code(), Some(0 | 2)), "{run:?}");
    until("it is given up", || api.get("/api/v1/improvements/i").expect(200)["status"] == "failed");
    assert_eq!(act(&api, "i", "retry", json!({}), "").expect(200)["attempts"], 0);
}

#[test]
fn a_lease_that_is_lost_while_its_completion_waits_for_the_row_completes_nothing() {
    let api = Service::open();
    for (id, lose) in [("lost", "lease_token = gen_random_uuid()"), ("cancelled", "status = 'cancelled'")] {
        queue(&api, id);
        let (_, token) = claim(&api, "w", 60).unwrap();
        std::thread::scope(|scope| {
            // The completion is read as held, and must find out when it gets the row.
            scope.spawn(|| api.sql(&format!("BEGIN; UPDATE dgm_improvements SET {lose} WHERE improvement_id = '{id}'; SELECT pg_sleep(1); COMMIT")));
            until("the row is locked", || {
                api.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == "1"
            });
            let result = json!({"archive_entry": {"archive_entry_id": format!("of-{id}"), "accuracy_score": 0.5,
                "constitutional_compliance_score": 0.9}});
            let refused = act(&api, id, "complete", result, &token);
            assert_eq!(refused.problem(), if id == "lost" { "lease-lost" } else { "illegal-state" });
        });
        assert_eq!(api.get(&format!("/api/v1/archive/of-{id}")).problem(), "not-found");
        assert_eq!(api.get(&format!("/api/v1/improvements/{id}")).expect(200)["archive_entry_id"], Value::Null);
    }
}

#[test]
fn failing_backs_off_until_the_attempts_are_used_up_and_cancelling_ends_a_lease() {
    let api = Service::open();
    queue(&api, "i");
    for attempt in 1..=3 {
        let (_, token) = claim(&api, "w", 60).unwrap();
        let failed = act(&api, "i", "fail", json!({"error_message": "did not compile"}), &token).expect(200);
        let repeated = act(&api, "i", "fail", json!({"error_message": "did not compile"}), &token).expect(200);
        assert_eq!((&failed["status"], &failed["attempts"]), (&repeated["status"], &repeated["attempts"]));
        assert_eq!(failed["status"], if attempt < 3 { "queued" } else { "failed" });
        assert!(claim(&api, "w", 60).is_none(), "not before the pause is over");
        api.sql("UPDATE dgm_improvements SET available_at = now()");
    }
    act(&api, "i", "retry", json!({}), "").expect(200);
    let (_, token) = claim(&api, "w", 60).unwrap();
    act(&api, "i", "cancel", json!({}), "").expect(200);
    act(&api, "i", "cancel", json!({}), "").expect(200);
    assert_eq!(act(&api, "i", "heartbeat", json!({}), &token).problem(), "illegal-state");
    queue(&api, "final");
    let (_, token) = claim(&api, "w", 60).unwrap();
    let never = json!({"error_message": "hopeless", "retryable": false});
    assert_eq!(act(&api, "final", "fail", never, &token).expect(200)["status"], "failed");
}

#[test]
fn sixteen_claimers_never_get_one_twice_and_go_by_priority_then_age() {
    const QUEUED: usize = 10_000;
    let api = Service::open();
    api.sql(&format!(
        "INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, priority, created_at)
         SELECT 'i' || n, 'agent', 'p', (ARRAY['low', 'medium', 'high', 'critical'])[1 + n % 4],
             now() - make_interval(secs => (n * 7919) % {QUEUED}) FROM generate_series(1, {QUEUED}) n"
    ));
    let order = api.sql("SELECT improvement_id FROM dgm_improvements ORDER BY priority_rank, created_at, id");
    let order: Vec<&str> = order.lines().collect();

    // One claimer sees exactly the order.
    let first = api.post("/api/v1/improvements:claim", &json!({"worker": "one", "max": 100})).expect(200);
    assert_eq!(ids(&first), order[..100]);

    let wishes: Vec<_> = (0..16).map(|n| json!({"worker": format!("w{n}"), "max": 1 + n % 7})).collect();
    let claimed = claim_all(&api, &wishes);
    let all: Vec<&String> = claimed.iter().flatten().flatten().collect();
    assert_eq!(all.len(), QUEUED - 100);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), QUEUED - 100, "one was handed out twice");
    // With others at work a claimer skips what they hold, but what it gets keeps rising in the order.
    let rank: std::collections::HashMap<&str, usize> = order.iter().enumerate().map(|(n, id)| (*id, n)).collect();
    for claimer in &claimed {
        let ranks: Vec<usize> = claimer.iter().flatten().map(|id| rank[id.as_str()]).collect();
        assert!(ranks.is_sorted(), "a claimer got an older or more urgent one later");
    }
    let metrics = api.ops("/metrics").1;
    assert!(metrics.contains("dgm_improvements_claimed_total{priority=\"critical\"} 2500"), "{metrics}");
}

/// Claims for one service each are answered by one statement, those for several or any by others beside it.
#[test]
fn claimers_of_different_services_get_their_own_in_order_and_none_twice() {
    const EACH: usize = 200;
    let services = ["plain", "a \"quoted\" one", r"back\slash", "{b,r}'aces?"];
    let api = Service::open();
    for (at, service) in services.iter().enumerate() {
        let service = service.replace('\'', "''");
        api.sql(&format!(
            "INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, created_at)
             SELECT '{at}-' || n, '{service}', 'p', now() - make_interval(secs => {EACH} - n) FROM generate_series(0, {EACH} - 1) n"
        ));
    }
    let alone = [[0], [1], [2], [3], [0], [1], [2], [3]];
    let others: [&[usize]; 4] = [&[0, 1], &[2, 3], &[0, 3], &[]];
    let wanted: Vec<&[usize]> = alone.iter().map(<[usize; 1]>::as_slice).chain(others).collect();
    let wishes: Vec<_> = (wanted.iter().enumerate())
        .map(|(n, of)| {
            let of = (!of.is_empty()).then(|| of.iter().map(|at| services[*at]).collect::<Vec<_>>());
            json!({"worker": format!("w{n}"), "max": 1 + n % 3, "services": of})
        })
        .collect();
    let got: Vec<Vec<String>> = claim_all(&api, &wishes).into_iter().map(|got| got.concat()).collect();
    let all: BTreeSet<&String> = got.iter().flatten().collect();
    assert_eq!((all.len(), got.iter().map(Vec::len).sum()), (services.len() * EACH, services.len() * EACH));
    for (of, got) in wanted.iter().zip(&got) {
        let mut last = [None; 4];
        for id in got {
            let (service, nth): (usize, usize) =
                id.split_once('-').map(|(service, nth)| (service.parse().unwrap(), nth.parse().unwrap())).unwrap();
            assert!(of.is_empty() || of.contains(&service), "{id} for {of:?}");
            assert!(last[service] < Some(nth), "{id} after {:?}", last[service]);
            last[service] = Some(nth);
        }
    }
    // Nobody was left without: there was enough for all who ask for the same.
    assert!(got[..alone.len()].iter().all(|got| !got.is_empty()), "{got:?}");
}

/// What arrives at once is written together, and must not share its fate.
#[test]
fn of_many_at_once_each_is_judged_alone() {
    const EACH: usize = 12;
    let api = Service::open();
    let first = json!({"archive_entry_id": "taken", "service_name": "agent", "problem_statement": "p",
        "accuracy_score": 0.5, "constitutional_compliance_score": 1});
    api.post("/api/v1/archive", &first).expect(201);
    // Name, and the parent when queued.
    let kinds = [("good", None), ("orphan", Some("none")), ("conflict", None), ("dangling", None), ("stranger", None)];
    let at_once = |send: &(dyn Fn(&str, usize) -> Answer + Sync)| {
        std::thread::scope(|scope| {
            let one = |kind: &'static str, n| scope.spawn(move || (kind, n, send(kind, n)));
            let all: Vec<_> = (0..EACH).flat_map(|n| kinds.map(|(kind, _)| one(kind, n))).collect();
            all.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let queued = at_once(&|kind, n| {
        let parent = kinds.iter().find(|of| of.0 == kind).unwrap().1;
        let body = json!({"improvement_id": format!("{kind}-{n}"), "service_name": "agent", "problem_statement": "p",
            "parent_entry_id": parent});
        api.post("/api/v1/improvements", &body)
    });
    for (kind, n, answer) in queued {
        if kind == "orphan" {
            assert_eq!(answer.problem(), "unknown-reference");
        } else {
            assert_eq!(answer.expect(201)["improvement_id"], format!("{kind}-{n}"));
        }
    }
    let claimed = api.post("/api/v1/improvements:claim", &json!({"worker": "w", "max": 100})).expect(200);
    let tokens: HashMap<&str, &str> = claimed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["improvement_id"].as_str().unwrap(), item["lease_token"].as_str().unwrap()))
        .collect();
    assert_eq!(tokens.len(), EACH * 4);

    let complete = |kind: &str, n: usize| {
        let id = format!("{kind}-{n}");
        let mut result = json!({"archive_entry_id": format!("of-{id}"), "accuracy_score": 0.7,
            "constitutional_compliance_score": 0.9});
        match kind {
            "conflict" => result["archive_entry_id"] = json!("taken"),
            "dangling" => result["parent_entry_id"] = json!("none"),
            _ => {}
        }
        let token = if kind == "stranger" {
            "00000000-0000-4000-8000-000000000000"
        } else {
            tokens.get(&*id).copied().unwrap_or_default()
        };
        act(&api, &id, "complete", json!({"archive_entry": result}), token)
    };
    // Each twice, as by a client that is impatient.
    let twice = std::thread::scope(|scope| {
        let other = scope.spawn(|| at_once(&complete));
        let mut all = at_once(&complete);
        all.extend(other.join().unwrap());
        all
    });
    for (kind, n, answer) in twice {
        match kind {
            "good" => assert_eq!(answer.expect(200)["archive_entry_id"], format!("of-good-{n}")),
            "conflict" => assert_eq!(answer.problem(), "already-exists"),
            "dangling" => assert_eq!(answer.problem(), "unknown-reference"),
            "stranger" => assert_eq!(answer.problem(), "lease-lost"),
            _ => assert_eq!(answer.status, 422, "without a token"),
        }
    }
    let states = api.sql(
        "SELECT split_part(improvement_id, '-', 1), status, count(*) FROM dgm_improvements GROUP BY 1, 2 ORDER BY 1",
    );
    assert_eq!(
        states,
        format!("conflict|running|{EACH}\ndangling|running|{EACH}\ngood|completed|{EACH}\nstranger|running|{EACH}")
    );
    assert_eq!(
        api.sql("SELECT count(*), min(accuracy_score) FROM dgm_archive WHERE archive_entry_id LIKE 'of-%'"),
        format!("{EACH}|0.7000")
    );
    let metrics = api.ops("/metrics").1;
    for writer in ["improvements", "completions"] {
        let value = |what: &str| {
            let series = format!("dgm_writer_batch_rows_{what}{{writer=\"{writer}\"}}");
            metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().trim().parse::<f64>().unwrap()
        };
        assert!(value("count") < value("sum"), "no {writer} were written together");
    }
}

#[test]
fn an_open_stream_ends_when_the_process_stops() {
    // A drain that waits for the stream lasts as long as it may.
    let mut api = Service::start(&[("DGM__AUTH__REQUIRED", "false"), ("DGM__HTTP__DRAIN_SECONDS", "300")]);
    queue(&api, "i");
    let stream = api.request("GET", "/api/v1/improvements/i/events").timeout(PATIENCE).send().unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "event: queued"));
    let reader = std::thread::spawn(move || lines.count());
    let started = Instant::now();
    assert_eq!(api.signal(Signal::TERM), Some(0));
    assert!(started.elapsed() < PATIENCE, "the drain waited for the stream");
    reader.join().unwrap();
}
