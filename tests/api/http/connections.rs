//! Open connections of callers, counted whatever ends them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, signal, until};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn open(serve: &Serve) -> Option<f64> {
    serve.metric("dgm_http_connections ")
}

fn connect(serve: &Serve) -> TcpStream {
    let stream = TcpStream::connect(&serve.api).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// With a first request that was answered.
fn greeted(serve: &Serve) -> TcpStream {
    let mut stream = connect(serve);
    stream.write_all(HEALTH).unwrap();
    assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    stream
}

fn hear_the_end(mut stream: TcpStream) {
    stream.read_to_end(&mut Vec::new()).unwrap();
}

fn head(serve: &Serve, request: &str, further: &str) -> String {
    format!("{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n{further}\r\n", serve.token)
}

#[test]
fn as_many_are_told_as_are_open_whatever_ends_them() {
    let database = Database::migrated();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    // Whoever scrapes is not counted.
    assert_eq!(open(&serve), Some(0.0), "told before there is one");

    // Callers that have asked, and go.
    let idle: Vec<_> = (0..20).map(|_| greeted(&serve)).collect();
    assert_eq!(open(&serve), Some(20.0));
    drop(idle);
    until("none is open", || open(&serve) == Some(0.0));

    // One that is gone in the middle of its request, and one that speaks no HTTP.
    let mut cut = connect(&serve);
    let body = "content-length: 100\r\ncontent-type: application/json\r\n";
    cut.write_all(head(&serve, "POST /api/v1/archive", body).as_bytes()).unwrap();
    let mut stranger = connect(&serve);
    until("both are open", || open(&serve) == Some(2.0));
    cut.shutdown(Shutdown::Write).unwrap();
    until("one is left", || open(&serve) == Some(1.0));
    stranger.write_all(b"EHLO example.org\r\n\r\n").unwrap();
    hear_the_end(stranger);
    until("none is open", || open(&serve) == Some(0.0));

    // One that says nothing, and one that says nothing more.
    let hasty = Serve::start_with(&database, "", &[("DGM__HTTP__HEADER_TIMEOUT_SECONDS", "1")]);
    for silent in [connect(&hasty), greeted(&hasty)] {
        hear_the_end(silent);
    }
    until("none is open", || open(&hasty) == Some(0.0));
}

#[test]
fn none_is_told_once_the_drain_has_ended() {
    let database = Database::migrated();
    let mut serve = Serve::start_with(&database, "", &[("DGM__HTTP__DRAIN_SECONDS", "1")]);
    serve.token = database.token("operator");
    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1});
    let mut caller = serve.wire();
    assert_eq!(caller.call("POST", "/api/v1/archive", &entry).unwrap().status, 201);
    caller.get_all(["/api/v1/archive/e"; 3], |_, reply| assert_eq!(reply.status, 200)).unwrap();
    // A process that stops writes down what was read: here it waits for that, and can be asked meanwhile.
    let holder =
        Holder::start(&database, "LOCK TABLE dgm_improvements, dgm_archive_access IN ACCESS EXCLUSIVE MODE", 600);
    let mut waiting = connect(&serve);
    waiting.write_all(head(&serve, "GET /api/v1/improvements", "").as_bytes()).unwrap();
    until("both are open", || open(&serve) == Some(2.0));

    signal(serve.pid(), Signal::TERM).unwrap();
    until("none is open", || open(&serve) == Some(0.0));
    // Its connection was dropped with its request.
    assert_eq!(waiting.read(&mut [0; 1024]).unwrap_or(0), 0, "it was answered");
    drop(holder);
}
