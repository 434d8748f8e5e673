//! Event streams: what they cost, and what they deliver while connections, servers and notifications are lost.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dgm_service::http::most_connections;
use serde_json::{Value, json};

use crate::support::crash::Mortal;
use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::session::Session;
use crate::support::stream::{Received, Stream};
use crate::support::{Database, Slowdown, Stopper, setting, soon, until};

const OWN: &str = "killed, or its commands are counted";
const END_HUBS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name IN ('dgm-hub', 'dgm-notify')";
const LISTENING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dgm-hub'";

fn serve(database: &Database, redis: &str, settings: &[(&str, &str)]) -> Serve {
    let settings: Vec<_> = [("DGM__JOBS__ENABLED", "false")].into_iter().chain(settings.iter().copied()).collect();
    Serve::start_with(database, redis, &settings)
}

fn open(database: &Database) -> Serve {
    serve(database, "", &[("DGM__AUTH__REQUIRED", "false")])
}

fn queue(serve: &Serve, id: &str) {
    let new = json!({"improvement_id": id, "service_name": "s", "problem_statement": "p"});
    serve.call("POST", "/api/v1/improvements", Some(&new)).expect(201);
}

/// The lease token of the improvement, which must be the next in the queue.
fn claim(serve: &Serve, id: &str) -> Value {
    let claim = json!({"worker": "w", "max": 1, "lease_seconds": 3600});
    let claimed = serve.call("POST", "/api/v1/improvements:claim", Some(&claim)).expect(200);
    assert_eq!(claimed["items"][0]["improvement_id"], id);
    claimed["items"][0]["lease_token"].clone()
}

fn progress(serve: &Serve, id: &str, lease: &Value, message: &str) -> u16 {
    let body = json!({"lease_token": lease, "progress": 1, "message": message});
    serve.call("POST", &format!("/api/v1/improvements/{id}/progress"), Some(&body)).status
}

fn path(id: &str) -> String {
    format!("/api/v1/improvements/{id}/events")
}

fn follow(serve: &Serve, id: &str) -> Stream {
    Stream::open(serve.request("GET", &path(id)))
}

fn ids(events: &[Received]) -> Vec<i64> {
    events.iter().map(|event| event.id).collect()
}

fn stored(database: &Database, id: &str) -> Vec<i64> {
    let all = database
        .sql(&format!("SELECT event_id FROM dgm_improvement_events WHERE improvement_id = '{id}' ORDER BY event_id"));
    all.lines().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn events_of_another_process_arrive_at_once() {
    let database = Database::ready();
    let (here, there) = (open(&database), open(&database));
    queue(&there, "i");
    let (streams, slowdown) = ([follow(&here, "i"), follow(&there, "i")], Slowdown::watch());
    let both_get = |kind: &str| assert!(streams.iter().all(|stream| stream.next().event == kind), "{kind}");
    both_get("queued");
    until("both listen", || database.sql(LISTENING) == "2");
    let lease = claim(&there, "i");
    both_get("running");
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..20 {
        assert_eq!(progress(&there, "i", &lease, &n.to_string()), 200);
        let answered = Instant::now();
        for (stream, times) in streams.iter().zip(&mut times) {
            let event = stream.next();
            assert!(event.data.contains(&format!("\"progress_message\":\"{n}\"")), "{event:?}");
            times.push(event.at.saturating_duration_since(answered));
        }
    }
    for (times, whose) in times.iter_mut().zip(["another process", "this process"]) {
        times.sort();
        eprintln!("event of {whose} after its answer: median {:?}, longest {:?}", times[10], times[19]);
        // Without notifications half of them come after half a second.
        assert!(times[10] < slowdown.stretch(Duration::from_millis(100)), "{times:?}");
    }
    // Without a notification: by hand, and by the program of a release that sends none.
    let changed = Instant::now();
    database.sql("UPDATE dgm_improvements SET progress = 50");
    for stream in &streams {
        let late = stream.next().at.saturating_duration_since(changed);
        assert!(late < slowdown.stretch(Duration::from_secs(2)), "{late:?}");
    }
    // With the connections that notify and listen lost at the moment of the change.
    database.sql(END_HUBS);
    assert_eq!(progress(&there, "i", &lease, "lost"), 200);
    let changed = Instant::now();
    for stream in &streams {
        let late = stream.next().at.saturating_duration_since(changed);
        assert!(late < slowdown.stretch(Duration::from_secs(2)), "{late:?}");
    }
    let notifications =
        |of: &Serve, direction: &str| of.count(&format!("dgm_hub_notifications_total{{direction=\"{direction}\"}}"));
    assert!(notifications(&here, "received") >= 15 && notifications(&there, "sent") >= 15);
    assert_eq!((notifications(&here, "sent"), here.metric("dgm_hub_subscriptions ")), (0, Some(1.0)));
    drop(streams);
}

#[test]
fn events_are_not_missed_when_transactions_commit_in_another_order() {
    let database = Database::ready();
    let serve = open(&database);
    for id in ["late", "early"] {
        queue(&serve, id);
    }
    let [late, early] = ["late", "early"].map(|id| follow(&serve, id));
    assert_eq!((late.next().event, early.next().event), ("queued".to_owned(), "queued".to_owned()));
    let mut session = Session::open(&database);
    session.row(
        "BEGIN; UPDATE dgm_improvements SET progress = 1 WHERE improvement_id = 'late'; SELECT pg_current_xact_id()",
    );
    // Its event has a higher id and a higher transaction, and several answers have seen it.
    for n in 1..4 {
        database.sql(&format!("UPDATE dgm_improvements SET progress = {n} WHERE improvement_id = 'early'"));
        assert_eq!(early.next().event, "progress");
    }
    session.row("COMMIT; SELECT 1");
    let event = late.next();
    let of = database.sql("SELECT min(event_id) FROM dgm_improvement_events WHERE event = 'progress'");
    assert_eq!((event.event.as_str(), event.id.to_string()), ("progress", of));
    // A change that is rolled back, and several of one transaction.
    let rolled = "UPDATE dgm_improvements SET progress = 10 WHERE improvement_id = 'late'; SELECT 1";
    session.row(&format!("BEGIN; {rolled}"));
    session.row("ROLLBACK; SELECT 1");
    session.row(&format!("BEGIN; {rolled}"));
    session.row("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now() WHERE improvement_id = 'late'; COMMIT; SELECT 1");
    assert_eq!(late.rest().iter().map(|event| event.event.as_str()).collect::<Vec<_>>(), ["progress", "cancelled"]);
    assert!(early.within(Duration::from_millis(50)).is_none());
}

#[test]
fn nothing_is_lost_or_out_of_order_when_connections_and_the_server_end() {
    let mut postgres = Mortal::own(OWN, &[]);
    let (writer, reader) = (open(&postgres.database), open(&postgres.database));
    queue(&writer, "i");
    let lease = claim(&writer, "i");
    let stream = follow(&reader, "i");
    let (stop, reconnected) = (AtomicBool::new(false), AtomicBool::new(false));
    let resumed = std::thread::scope(|scope| {
        let stopper = Stopper(&stop);
        let work = scope.spawn(|| {
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                // What was not acknowledged is tried again.
                if progress(&writer, "i", &lease, &done.to_string()) == 200 {
                    done += 1;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            done
        });
        // One that is cut off again and again, and goes on where it was.
        let resumes = scope.spawn(|| {
            let mut all: Vec<Received> = Vec::new();
            loop {
                let after = all.last().map_or(0, |last| last.id);
                let response = reader.request("GET", &path("i")).header("last-event-id", after).send().unwrap();
                match response.status().as_u16() {
                    200 => {}
                    204 => return all,
                    503 => {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    other => panic!("{other}"),
                }
                let stream = Stream::of(response);
                for _ in 0..7 {
                    all.extend(stream.within(Duration::from_millis(300)));
                }
                reconnected.store(true, Ordering::Relaxed);
            }
        });
        let pause = || std::thread::sleep(Duration::from_millis(150));
        for _ in 0..4 {
            pause();
            postgres.database.sql(END_HUBS);
        }
        postgres.kill();
        pause();
        postgres.restart();
        until("work goes on", || reader.metric("dgm_db_up ") == Some(1.0));
        for _ in 0..3 {
            pause();
            postgres.database.sql(END_HUBS);
        }
        drop(stopper);
        let done: i32 = work.join().unwrap();
        assert!(done > 50 && reconnected.load(Ordering::Relaxed), "{done}");
        let cancelled = writer.insist("POST", "/api/v1/improvements/i/cancel");
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
        resumes.join().unwrap()
    });
    let expected = stored(&postgres.database, "i");
    assert_eq!(ids(&stream.rest()), expected, "one stream, which stayed open");
    assert_eq!(ids(&resumed), expected, "by Last-Event-ID");
}

/// A stream that was opened and whose first event was read. A Redis that comes too late is a 503.
fn raw(serve: &Serve, token: &str, id: &str) -> TcpStream {
    let mut stream = None;
    until("the stream is open", || {
        stream = raw_once(serve, token, id);
        stream.is_some()
    });
    stream.unwrap()
}

fn raw_once(serve: &Serve, token: &str, id: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(&serve.api).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n",
        path(id)
    );
    stream.write_all(head.as_bytes()).unwrap();
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    while !seen.windows(13).any(|part| part == b"event: queued") {
        let read = stream.read(&mut bytes).unwrap();
        if read == 0 && seen.starts_with(b"HTTP/1.1 503") {
            return None;
        }
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..read]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&seen));
    Some(stream)
}

#[test]
fn a_thousand_idle_streams_cost_no_more_than_one() {
    const SECONDS: u64 = 4;
    /// What a stream, its caller or their changes may cause.
    const OF_STREAMS: [&str; 8] = [
        "feed_poll",
        "hub_poll",
        "hub_read",
        "hub_listeners",
        "improvement_get",
        "improvement_events",
        "token_load",
        "token_state",
    ];
    let streams = setting("DGM_TEST_STREAMS", 1_000);
    // This process opens them all; ordinary accounts may have 1,024 files open unless a process raises its limit.
    let files = streams + 500;
    assert_eq!(most_connections(files), files, "`ulimit -Hn` allows fewer files");
    let database = Database::own(OWN, &[("shared_preload_libraries", "pg_stat_statements")]);
    let redis = Redis::own(OWN);
    let serve = serve(&database, &redis.url(), &[]);
    database.sql("CREATE EXTENSION pg_stat_statements");
    database.sql(&format!(
        "INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, performance_metrics, create_digest)
         SELECT 'i' || n, 's' || n % 3, 'p', '{{}}', sha256(int4send(n)) FROM generate_series(0, {streams}) n"
    ));
    let reader = database.token("reader");
    let session = serve.request_as(&reader, "POST", "/api/v1/sessions").send().unwrap();
    let session = session.json::<Value>().unwrap()["session_token"].as_str().unwrap().to_owned();
    let mut open: Vec<_> = vec![raw(&serve, &reader, "i0")];
    for wanted in [1, streams] {
        while open.len() < wanted {
            let token = if open.len() % 2 == 0 { &reader } else { &session };
            open.push(raw(&serve, token, &format!("i{}", open.len())));
        }
        until("all wait", || serve.metric("dgm_hub_subscriptions ") == Some(f64::from(u32::try_from(wanted).unwrap())));
        std::thread::sleep(Duration::from_millis(1500));
        database.sql("SELECT pg_stat_statements_reset()");
        redis.command(&["CONFIG", "RESETSTAT"]);
        let started = Instant::now();
        std::thread::sleep(Duration::from_secs(SECONDS));
        let seconds = started.elapsed().as_secs_f64();
        // As the servers count them.
        let calls = "SELECT name || ' ' || sum(calls) FROM (
            SELECT substring(query FROM 'dgm:(\\w+)') AS name, calls FROM pg_stat_statements WHERE query LIKE '/* dgm:%') s GROUP BY name";
        let calls = database.sql(calls);
        let commands = redis.command(&["INFO", "commandstats"]);
        let sum = |counts: &mut dyn Iterator<Item = &str>| {
            counts.map(|count| count.parse::<f64>().unwrap()).sum::<f64>() / seconds
        };
        let counts = || calls.lines().filter_map(|line| line.split_once(' '));
        let all = sum(&mut counts().map(|(_, count)| count));
        let of_streams = sum(&mut counts().filter(|(name, _)| OF_STREAMS.contains(name)).map(|(_, count)| count));
        let commands = sum(&mut commands.lines().filter_map(|line| line.split_once("calls=")?.1.split(',').next()));
        eprintln!(
            "{wanted} streams: {of_streams:.1} statements/s of {all:.1}, {commands:.1} Redis commands/s; {}",
            calls.replace('\n', ", ")
        );
        // The change feed asks twice a second, the hub once; every 15 s some 15 statements measure the server.
        assert!(of_streams < 5.0 && all < 12.0 && commands < 10.0, "{wanted} streams: {of_streams} {all} {commands}");
    }
    // They are awake: each gets its own event, and an end ends it.
    database.sql("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now()");
    for mut stream in open {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("event: cancelled"), "{rest}");
    }
    until("nobody waits", || serve.metric("dgm_hub_subscriptions ") == Some(0.0));
}

fn resident(serve: &Serve) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn readers_that_do_not_read_hold_up_nobody_and_fill_no_memory() {
    const EVENTS: usize = 8_000;
    let database = Database::ready();
    let serve = open(&database);
    queue(&serve, "busy");
    queue(&serve, "other");
    let mut asleep: Vec<_> = (0..30).map(|_| raw(&serve, "", "busy")).collect();
    let (awake, other, slowdown) = (follow(&serve, "busy"), follow(&serve, "other"), Slowdown::watch());
    assert_eq!((awake.next().event, other.next().event), ("queued".to_owned(), "queued".to_owned()));
    until("all wait", || serve.metric("dgm_hub_subscriptions ") == Some(32.0));
    let before = resident(&serve);
    // 8 MB; what is not read would be 240 MB.
    database.sql(&format!(
        "INSERT INTO dgm_improvement_events (improvement_id, service_name, event, data)
         SELECT 'busy', 's', 'progress', jsonb_build_object('n', n, 'text', repeat('x', 1000)) FROM generate_series(1, {EVENTS}) n"
    ));
    let changed = Instant::now();
    assert_eq!(serve.call("POST", "/api/v1/improvements/other/cancel", Some(&json!({}))).status, 200);
    let late = other.next().at.saturating_duration_since(changed);
    assert!(late < slowdown.stretch(Duration::from_secs(1)), "the other stream waited for {late:?}");
    let events: Vec<_> = (0..EVENTS).map(|_| awake.next()).collect();
    assert!(ids(&events).is_sorted());
    let grown = resident(&serve).saturating_sub(before);
    eprintln!("{grown} MiB more with 30 readers that do not read");
    assert!(grown < 80, "{grown} MiB");
    // One of them reads on: it has missed nothing.
    assert_eq!(serve.call("POST", "/api/v1/improvements/busy/cancel", Some(&json!({}))).status, 200);
    let (mut first, mut text) = (asleep.remove(0), String::new());
    drop(asleep);
    first.read_to_string(&mut text).unwrap();
    let read: Vec<i64> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
    let expected = stored(&database, "busy");
    assert_eq!((read.len(), read), (EVENTS + 1, expected[1..].to_vec()));
}

#[test]
fn a_session_that_was_closed_ends_its_streams() {
    let (database, redis) = (Database::ready(), crate::support::redis::Logical::new());
    let replicas = [(); 2].map(|()| serve(&database, &redis.url(), &[]));
    let (operator, reader) = (database.token("operator"), database.token("reader"));
    let improvement = json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"});
    let queued = replicas[0].request_as(&operator, "POST", "/api/v1/improvements").json(&improvement).send().unwrap();
    assert_eq!(queued.status(), 201);
    let session = replicas[0].request_as(&reader, "POST", "/api/v1/sessions").send().unwrap();
    let session = session.json::<Value>().unwrap()["session_token"].as_str().unwrap().to_owned();
    let read = |serve: &Serve, token: &str| Stream::open(serve.request_as(token, "GET", &path("i")));
    let streams = replicas.each_ref().map(|replica| [read(replica, &session), read(replica, &session)]);
    let others = replicas.each_ref().map(|replica| read(replica, &reader));
    let closed = replicas[0].request_as(&session, "DELETE", "/api/v1/sessions/current").send().unwrap();
    assert_eq!(closed.status(), 204);
    soon("those of the process that closed it end", Duration::from_secs(1), || {
        streams[0].iter().all(Stream::has_ended)
    });
    soon("those of the other end", Duration::from_secs(6), || streams[1].iter().all(Stream::has_ended));
    assert!(!others.iter().any(Stream::has_ended), "those of the token go on");
    // Its expiry is known, and needs no check.
    let until_then = Instant::now();
    database.sql("UPDATE dgm_api_tokens SET expires_at = now() + interval '2 seconds' WHERE name = 'reader'");
    soon("they end when the token expires", Duration::from_secs(3), || others.iter().all(Stream::has_ended));
    assert!(until_then.elapsed() > Duration::from_millis(1500));
}
