//! What readers can make the service hold in memory.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::service::Service;
use crate::support::{soon, until};

const OPEN: (&str, &str) = ("DGM__AUTH__REQUIRED", "false");
/// Above the idle process, for eight readers at once.
const MOST_KIB: u64 = 256 << 10;

/// Entries of 15 MiB each: far more than a page.
const LONG: u32 = 10;

/// Entries of `service` made by SQL with these values of two columns.
fn entries(of: &Service, service: &str, count: u32, statement: &str, metrics: &str) {
    of.sql(&format!(
        "INSERT INTO dgm_archive (archive_entry_id, generation_number, service_name, problem_statement, performance_metrics,
            accuracy_score, constitutional_compliance_score, status)
         SELECT '{service}-' || n, n, '{service}', {statement}, {metrics}, 0.5, 1, 'active' FROM generate_series(1, {count}) n"
    ));
}

fn text(bytes: usize) -> String {
    format!("repeat(md5(n::text), {})", bytes / 32)
}

/// A line of /proc/PID/status, in KiB.
fn memory(of: &Service, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", of.serve.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").trim().parse().unwrap()
}

/// How much more than now the process needs at most while eight readers ask for this at once.
fn peak(of: &Service, path: &str) -> u64 {
    let before = memory(of, "VmRSS");
    // Resets VmHWM.
    std::fs::write(format!("/proc/{}/clear_refs", of.serve.pid()), "5").unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let response = of.request("GET", path).send().unwrap();
                assert_eq!(response.status(), 200, "{path}");
                assert!(!response.bytes().unwrap().is_empty());
            });
        }
    });
    memory(of, "VmHWM").saturating_sub(before)
}

#[test]
fn eight_readers_of_large_entries_need_a_bounded_memory() {
    let it = Service::start(&[OPEN]);
    entries(&it, "long", LONG, &text(15 << 20), "'{}'");
    // Of a million numbers each, which took thirty times their text.
    entries(&it, "wide", 4, "'p'", "jsonb_build_object('a', (SELECT jsonb_agg(1) FROM generate_series(1, 1000000)))");
    it.sql("UPDATE dgm_archive SET parent_entry_id = 'long-' || generation_number - 1 WHERE service_name = 'long' AND generation_number > 1");
    it.sql(&format!(
        "INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement)
         SELECT 'i-' || n, 'long', {} FROM generate_series(1, {LONG}) n",
        text(15 << 20)
    ));
    assert_eq!(it.get("/ready").status, 200);
    for path in [
        "/api/v1/archive?service=long&limit=1000",
        "/api/v1/archive?service=wide&limit=1000",
        "/api/v1/archive/long-10/lineage",
        "/api/v1/archive/long-1/descendants",
        "/api/v1/archive/long-1/children",
        "/api/v1/improvements?limit=1000",
    ] {
        let needed = peak(&it, path);
        assert!(needed <= MOST_KIB, "{path}: {} MiB", needed >> 10);
    }
}

#[test]
fn pages_end_at_their_size_and_go_on_at_their_cursor() {
    // Nine pages at once are slow to write without optimization, and hold their connections meanwhile.
    let it = Service::start(&[OPEN, ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "30")]);
    entries(&it, "s", 20, &text(1 << 20), "'{}'");
    it.sql("UPDATE dgm_archive SET parent_entry_id = 's-' || generation_number - 1 WHERE generation_number > 1");
    let (mut ids, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = it.get(&format!("/api/v1/archive?limit=1000&sort=accuracy{cursor}"));
        sizes.push(page.ids("archive_entry_id").len());
        ids.extend(page.ids("archive_entry_id"));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(sizes, [7, 7, 6]);
    assert_eq!(ids.len(), 20);
    let ids: BTreeSet<String> = ids.into_iter().collect();
    assert_eq!(ids, (1..=20).map(|n| format!("s-{n}")).collect::<BTreeSet<_>>());
    let named = |ids: Vec<u32>| ids.iter().map(|n| format!("s-{n}")).collect::<Vec<_>>();
    for (path, expected) in [("s-20/lineage", (14..=20).rev().collect()), ("s-1/descendants", (1..=7).collect())] {
        let part = it.get(&format!("/api/v1/archive/{path}"));
        assert_eq!((part.ids("archive_entry_id"), &part.body["truncated"]), (named(expected), &json!(true)));
    }
    // What SQL stored beyond the limit is cut in lists, and whole by itself.
    entries(&it, "old", 1, &text(3 << 20), "'{}'");
    let length = |of: &serde_json::Value| of["problem_statement"].as_str().unwrap().len();
    assert_eq!(length(&it.get("/api/v1/archive?service=old").body["items"][0]), 262_144);
    assert_eq!(length(&it.get("/api/v1/archive/old-1").body), 3 << 20);
    // A connection whose page was cut is not the next caller's: each answer is its own.
    thread::scope(|scope| {
        for n in 1..=9 {
            let it = &it;
            scope.spawn(move || {
                it.get("/api/v1/archive?limit=1000");
                let found = it.get(&format!("/api/v1/archive?service=s&generation={n}"));
                assert_eq!(found.ids("archive_entry_id"), [format!("s-{n}")]);
            });
        }
    });
}

#[test]
fn problem_statements_have_a_limit_of_their_own() {
    let it = Service::start(&[OPEN]);
    let entry = |bytes: usize| {
        json!({"archive_entry_id": format!("e-{bytes}"), "service_name": "s", "problem_statement": "ä".repeat(bytes / 2),
            "accuracy_score": 0.5, "constitutional_compliance_score": 1})
    };
    let most = 1 << 20;
    it.post("/api/v1/archive", &entry(most)).expect(201);
    let too_long = "must have at most 1048576 bytes in UTF-8, and has 1048578: store long texts as an artifact";
    let refused = |path: &str, body: serde_json::Value, pointer: &str| {
        let answer = it.post(path, &body).expect(422);
        assert_eq!(answer["errors"], json!([{"pointer": pointer, "detail": too_long}]), "{path}");
    };
    refused("/api/v1/archive", entry(most + 2), "/problem_statement");
    refused("/api/v1/archive:batch", json!({"entries": [entry(2), entry(most + 2)]}), "/entries/1/problem_statement");
    let improvement =
        json!({"improvement_id": "i", "service_name": "s", "problem_statement": "ä".repeat(most / 2 + 1)});
    refused("/api/v1/improvements", improvement, "/problem_statement");
    let improvement = json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"});
    it.post("/api/v1/improvements", &improvement).expect(201);
    let claimed = it.post("/api/v1/improvements:claim", &json!({"worker": "w"})).expect(200);
    let done = json!({"lease_token": claimed["items"][0]["lease_token"], "archive_entry": {"problem_statement": "ä".repeat(most / 2 + 1),
        "accuracy_score": 0.5, "constitutional_compliance_score": 1}});
    refused("/api/v1/improvements/i/complete", done, "/archive_entry/problem_statement");
    // The patch may be longer.
    let mut long = entry(4);
    long["solution_patch"] = json!("x".repeat(2 << 20));
    it.post("/api/v1/archive", &long).expect(201);
}

fn ask(of: &Service, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&of.serve.api).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("{request}\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn open(of: &Service) -> Option<f64> {
    of.serve.metric("dgm_http_connections ")
}

#[test]
fn a_response_that_is_not_read_is_dropped() {
    let it = Service::start(&[OPEN, ("DGM__HTTP__IDLE_TIMEOUT_SECONDS", "1")]);
    entries(&it, "s", 1, "'p'", &format!("jsonb_build_object('a', {})", text(15 << 20)));
    it.post("/api/v1/improvements", &json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"}))
        .expect(201);
    let readers: Vec<_> = (0..4).map(|_| ask(&it, "GET /api/v1/archive HTTP/1.1")).collect();
    // One that sends nothing of its upload, and one of a JSON body.
    let head = "content-length: 1000\r\ncontent-type: application/json";
    let uploads = [
        ask(&it, &format!("PUT /api/v1/archive/s-1/artifacts/a HTTP/1.1\r\n{head}")),
        ask(&it, &format!("POST /api/v1/archive HTTP/1.1\r\n{head}")),
    ];
    // One that reads what there is: an event stream, which is quiet.
    let mut listener = ask(&it, "GET /api/v1/improvements/i/events HTTP/1.1\r\nconnection: close");
    assert!(listener.read(&mut [0; 4096]).unwrap() > 0);
    until("all are open", || open(&it) >= Some(5.0));
    soon("only the stream is open", Duration::from_secs(8), || {
        // The connection of the test's own client is open, too.
        open(&it) <= Some(2.0)
    });
    for mut upload in uploads {
        let mut answer = String::new();
        upload.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("HTTP/1.1 4"), "{answer}");
    }
    drop(readers);
    it.sql("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now()");
    let mut rest = String::new();
    listener.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("event: cancelled"), "{rest}");
}

#[test]
fn further_connections_wait_and_the_operators_do_not() {
    let it = Service::start(&[OPEN, ("DGM__HTTP__MAX_CONNECTIONS", "4")]);
    let mut all: Vec<_> = (0..4).map(|_| ask(&it, "GET /health HTTP/1.1")).collect();
    for stream in &mut all {
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    }
    let mut next = ask(&it, "GET /health HTTP/1.1");
    next.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    next.read(&mut [0; 1024]).unwrap_err();
    assert_eq!((open(&it), it.ops("/metrics").0), (Some(4.0), 200));
    drop(all.pop());
    next.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(next.read(&mut [0; 1024]).unwrap() > 0);
}
