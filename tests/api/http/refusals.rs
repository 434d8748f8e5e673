//! Connections after a response that was made before its request was read. Either the next request is served, or the response
//! announced that the connection ends and was read in full.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::raw::{Raw, Reply};
use crate::support::serve::Serve;
use crate::support::service::Service;
use crate::support::setting;

const KIB: usize = 1 << 10;
const NEXT: &str = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
const JSON: &str = "content-type: application/json\r\n";

/// How a request tells the length of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

/// When the client sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// At once.
    Whole,
    /// At once, with the next request behind it.
    Pipelined,
    /// After the head has had time to arrive.
    Late,
    /// After `100 Continue`.
    Expecting,
    /// At once, although the head asks for `100 Continue`.
    Impatient,
    /// At once, and the head asks for HTTP/2, as Java's client does.
    Upgrading,
}

use Framing::{Chunked, Length};
use Sending::{Expecting, Impatient, Late, Pipelined, Upgrading, Whole};

/// A request that is answered before its body is read.
#[derive(Debug, Clone)]
struct Early {
    status: u16,
    request: &'static str,
    headers: String,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    version: &'static str,
    framing: Framing,
    size: usize,
    sending: Sending,
}

fn body(framing: Framing, size: usize) -> Vec<u8> {
    let bytes = vec![b' '; size];
    match framing {
        Length => bytes,
        Chunked => {
            let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let chunks: Vec<u8> = bytes.chunks(64 * KIB).flat_map(chunk).collect();
            [&chunks[..], b"0\r\n\r\n"].concat()
        }
    }
}

fn early(worker: &str) -> Vec<Early> {
    let token = format!("authorization: Bearer {worker}\r\n");
    let early = |status, request, headers: String| Early { status, request, headers };
    vec![
        early(401, "POST /api/v1/archive", JSON.to_owned()),
        early(403, "POST /api/v1/admin/tokens", format!("{token}{JSON}")),
        early(404, "POST /nowhere", token.clone()),
        early(403, "PUT /api/v1/archive", format!("{token}{JSON}")),
        early(415, "POST /api/v1/metrics", format!("{token}content-type: text/plain\r\n")),
        early(400, "PATCH /api/v1/archive/a%00", format!("{token}{JSON}")),
        early(400, "GET /api/v1/archive/%ff", format!("{token}{JSON}")),
        early(404, "PUT /api/v1/archive/none/artifacts/a", token),
        // Not refused, and not read either.
        early(200, "GET /health", String::new()),
    ]
}

/// One request and the next on a connection; whether the first response announced its end.
fn try_case(serve: &Serve, address: &str, early: &Early, case: Case) -> io::Result<bool> {
    let mut connection = Raw::connect(address);
    let Case { version, framing, size, sending } = case;
    let keep = if version == "1.0" { "connection: keep-alive\r\n" } else { "" };
    let expect = match sending {
        Expecting | Impatient => "expect: 100-continue\r\n",
        Upgrading => "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n",
        Whole | Pipelined | Late => "",
    };
    let length = match framing {
        Length => format!("content-length: {size}\r\n"),
        Chunked => "transfer-encoding: chunked\r\n".to_owned(),
    };
    let Early { status, request, headers } = early;
    let head = format!("{request} HTTP/{version}\r\nhost: {}\r\n{headers}{keep}{expect}{length}\r\n", serve.api);
    let mut whole = [head.as_bytes(), &body(framing, size)].concat();
    match sending {
        Whole | Impatient | Upgrading => connection.send(&whole)?,
        Pipelined => {
            whole.extend_from_slice(NEXT.as_bytes());
            connection.send(&whole)?;
        }
        Late => {
            connection.send(head.as_bytes())?;
            thread::sleep(Duration::from_millis(5));
            connection.send(&whole[head.len()..])?;
        }
        Expecting => connection.send(head.as_bytes())?,
    }
    let reply = connection.reply(false)?;
    assert_eq!(reply.status, *status, "{case:?} {early:?}: {reply:?}");
    if *status >= 400 {
        assert_eq!(reply.flaw(false), None, "{case:?} {early:?}");
    }
    if reply.closes() {
        assert!(connection.ends()?, "{case:?} {early:?}: more after the last response");
        return Ok(true);
    }
    if sending == Expecting {
        // Who is not told that the connection ends sends the body in full.
        connection.send(&whole[head.len()..])?;
    }
    if sending != Pipelined {
        connection.send(NEXT.as_bytes())?;
    }
    let next = connection.reply(false)?;
    assert_eq!((next.status, next.header("content-type")), (200, "application/json"), "{case:?} {early:?}: {next:?}");
    Ok(false)
}

/// Every combination; the largest bodies come last, and are sent only a few times.
fn cases() -> (Vec<Case>, Vec<Case>) {
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for size in [0, 1, 64 * KIB, 64 * KIB + 1, 16 * KIB * KIB] {
        for (version, framing) in [("1.1", Length), ("1.1", Chunked), ("1.0", Length)] {
            for sending in [Whole, Pipelined, Late, Expecting, Impatient, Upgrading] {
                // HTTP/1.0 has neither.
                if version == "1.0" && [Expecting, Impatient, Upgrading].contains(&sending) {
                    continue;
                }
                let cases = if size > KIB * KIB { &mut large } else { &mut small };
                cases.push(Case { version, framing, size, sending });
            }
        }
    }
    (small, large)
}

#[test]
fn the_next_request_is_served_or_the_end_is_announced() {
    let it = Service::closed();
    let worker = it.database.token("worker");
    let early = early(&worker);
    let at_operations = [
        Early { status: 404, request: "POST /nowhere", headers: String::new() },
        Early { status: 401, request: "POST /metrics", headers: String::new() },
    ];
    let (small, large) = cases();
    let count = setting("DGM_TEST_REFUSALS", 4000);
    let (served, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |case: Case, index: usize| {
        let (address, early) = match index % (early.len() + at_operations.len()) {
            api if api < early.len() => (&it.serve.api, &early[api]),
            operations => (&it.serve.ops, &at_operations[operations - early.len()]),
        };
        let announced = try_case(&it.serve, address, early, case)
            .unwrap_or_else(|error| panic!("{error}: {case:?} {early:?} on {address}"));
        // What a client waits to send must not be read; what is small is always read.
        let is_awaited = [Expecting, Impatient].contains(&case.sending) && (case.size > 0 || case.framing == Chunked);
        if is_awaited || case.size > KIB * KIB {
            assert!(announced, "{case:?} {early:?}");
        } else if case.size <= 64 * KIB && ![Expecting, Impatient].contains(&case.sending) {
            assert!(!announced, "{case:?} {early:?}");
        }
        if announced { &ended } else { &served }.fetch_add(1, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        for thread in 0..4 {
            let (run, small) = (&run, &small);
            scope.spawn(move || {
                for index in (thread..count).step_by(4) {
                    run(small[index % small.len()], index / small.len());
                }
            });
        }
    });
    for (index, case) in large.iter().enumerate() {
        run(*case, index);
    }
    let (served, ended) = (served.into_inner(), ended.into_inner());
    eprintln!(
        "{count} requests after refusals: {served} connections served the next request, {ended} announced their end"
    );
    assert_eq!(served + ended, count + large.len());
    assert_eq!(it.serve.count("dgm_panics_total "), 0);
}

fn respond(connection: &mut Raw, status: u16) -> Reply {
    let reply = connection.reply(false).unwrap();
    assert_eq!(reply.status, status, "{reply:?}");
    reply
}

#[test]
fn a_body_that_is_not_refused_is_asked_for_and_one_that_stalls_is_not_waited_for() {
    let it = Service::open();
    let host = &it.serve.api;
    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 0.5});
    let text = entry.to_string();
    let mut connection = Raw::connect(host);
    let head = format!("POST /api/v1/archive HTTP/1.1\r\nhost: {host}\r\n{JSON}content-length: {}\r\n", text.len());
    connection.send(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    respond(&mut connection, 100);
    connection.send(text.as_bytes()).unwrap();
    assert!(!respond(&mut connection, 201).closes());
    // After 100 Continue the body is on its way, so that it is read although it is refused.
    let bad = "x".repeat(KIB);
    let head = format!("POST /api/v1/archive HTTP/1.1\r\nhost: {host}\r\n{JSON}content-length: {KIB}\r\n");
    connection.send(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    respond(&mut connection, 100);
    connection.send(bad.as_bytes()).unwrap();
    assert!(!respond(&mut connection, 400).closes());

    // Half of a small body, and then nothing: refused within about a second, with the end announced.
    let started = Instant::now();
    connection
        .send(format!("POST /nowhere HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10\r\n\r\nhalf").as_bytes())
        .unwrap();
    assert!(respond(&mut connection, 404).closes());
    assert!(connection.ends().unwrap());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());

    // A body that turns out to be no chunked one.
    let mut connection = Raw::connect(host);
    let chunked = format!("POST /nowhere HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.send(format!("{chunked}zz\r\n{NEXT}").as_bytes()).unwrap();
    assert!(respond(&mut connection, 404).closes());
    assert!(connection.ends().unwrap());

    // More than the service takes, from a client that sends all of it before it reads.
    let mut connection = Raw::connect(host);
    let size = 48 * KIB * KIB;
    connection
        .send(
            format!("POST /api/v1/archive HTTP/1.1\r\nhost: {host}\r\n{JSON}content-length: {size}\r\n\r\n").as_bytes(),
        )
        .unwrap();
    connection.send(&vec![b' '; size]).unwrap();
    assert!(respond(&mut connection, 413).closes());
    assert!(connection.ends().unwrap());
}

#[test]
fn a_head_that_cannot_be_read_gets_a_problem() {
    let it = Service::open();
    let long = |length| "x".repeat(length);
    let fields = (0..200).map(|index| format!("x-{index}: y\r\n")).collect::<Vec<_>>().concat();
    let host = "host: localhost\r\n";
    let cases = [
        (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400, "malformed-head"),
        (format!("GET /health HTTP/1.1\r\n{host}a\u{1}: b\r\n\r\n"), 400, "malformed-head"),
        (format!("GET /health HTTP/3.7\r\n{host}\r\n"), 400, "malformed-head"),
        (format!("GET /health\r\n{host}\r\n"), 400, "malformed-head"),
        (format!("POST /health HTTP/1.1\r\n{host}content-length: x\r\n\r\n"), 400, "malformed-head"),
        (
            format!("POST /health HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            400,
            "malformed-head",
        ),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", long(70_000)), 414, "target-too-long"),
        (format!("GET /health HTTP/1.1\r\n{host}{fields}\r\n"), 431, "head-too-large"),
        (format!("GET /health HTTP/1.1\r\n{host}x: {}\r\n\r\n", long(1_000_000)), 431, "head-too-large"),
    ];
    for address in [&it.serve.api, &it.serve.ops] {
        for (head, status, kind) in &cases {
            // First on a connection, after a response, and behind a request in the same packet.
            for before in ["", NEXT] {
                for at_once in [true, false] {
                    let what = &head[..head.len().min(60)];
                    let mut connection = Raw::connect(address);
                    if at_once {
                        connection.send(format!("{before}{head}").as_bytes()).unwrap();
                    } else {
                        connection.send(before.as_bytes()).unwrap();
                    }
                    if !before.is_empty() {
                        respond(&mut connection, 200);
                    }
                    if !at_once {
                        connection.send(head.as_bytes()).unwrap();
                    }
                    let reply = connection.reply(false).unwrap_or_else(|error| panic!("{what:?}: {error}"));
                    assert_eq!((reply.status, reply.flaw(false)), (*status, None), "{what:?}");
                    let text = String::from_utf8_lossy(&reply.body);
                    assert!(text.contains(&format!("urn:dgm:problem:{kind}")), "{what:?}: {text}");
                    assert!(reply.closes() && connection.ends().unwrap(), "{what:?}: {reply:?}");
                }
            }
        }
    }
    let series = "dgm_http_requests_total{route=\"unmatched\",method=\"other\",status=\"4xx\"} ";
    assert!(it.serve.count(series) > 0, "{}", it.serve.metrics());
}
