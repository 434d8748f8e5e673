//! Open connections of callers, counted whatever ends them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, setting, signal, until};

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

/// A client with one connection, which it opens again only when it was told that the connection ends.
struct Client<'a> {
    serve: &'a Serve,
    stream: TcpStream,
    opened: usize,
}

impl Client<'_> {
    fn reopen(&mut self) {
        self.stream = connect(self.serve);
        self.opened += 1;
    }

    /// The status of a request whose head and body go separately; `after` is the pause between them.
    fn send(&mut self, head: &str, body: &[u8]) -> Result<u16, String> {
        self.stream.write_all(head.as_bytes()).map_err(|error| format!("the head: {error}"))?;
        // The service may have answered and closed before all of it is sent.
        let sent = self.stream.write_all(body);
        let mut bytes = Vec::new();
        let end = loop {
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => {
                    return Err(format!("no response after {:?}; sent: {sent:?}", String::from_utf8_lossy(&bytes)));
                }
                Ok(read) => bytes.extend(&piece[..read]),
            }
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length: usize =
            text.split("content-length: ").nth(1).map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
        let mut rest = vec![0; (end + length).saturating_sub(bytes.len())];
        self.stream.read_exact(&mut rest).map_err(|error| format!("the rest of {text}: {error}"))?;
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        // 100: the response proper follows.
        if status == 100 {
            return self.send("", b"");
        }
        if text.contains("connection: close") {
            self.reopen();
        }
        Ok(status)
    }
}

#[test]
fn after_a_refusal_the_connection_goes_on_or_the_response_says_that_it_ends() {
    let database = Database::migrated();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("reader");
    let mut client = Client { serve: &serve, stream: connect(&serve), opened: 0 };
    let rounds = setting("DGM_TEST_REFUSALS", 12);
    let authorized = format!("authorization: Bearer {}\r\n", serve.token);
    let mut asked = 0;
    for (request, token, expected) in [
        ("POST /api/v1/archive", "", 401),
        ("POST /api/v1/archive", "authorization: Bearer dgm_nobody\r\n", 401),
        ("POST /api/v1/archive", &authorized, 403),
        ("PUT /api/v1/archive/x/artifacts/y", &authorized, 403),
        ("POST /api/v1/nowhere", &authorized, 404),
        ("PUT /api/v1/archive", &authorized, 403),
        ("DELETE /health", "", 401),
    ] {
        for size in [0, 1, 64 << 10, 16 << 20] {
            let body = vec![b'x'; size];
            let chunked: Vec<u8> = if size == 0 {
                b"0\r\n\r\n".to_vec()
            } else {
                [format!("{size:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()
            };
            let plain = format!("content-length: {size}\r\n");
            for (length, body) in [
                (plain.clone(), &body),
                ("transfer-encoding: chunked\r\n".to_owned(), &chunked),
                (format!("{plain}expect: 100-continue\r\n"), &body),
            ] {
                let head = format!(
                    "{request} HTTP/1.1\r\nhost: localhost\r\n{token}content-type: application/json\r\n{length}\r\n"
                );
                for _ in 0..if size > 1 << 20 { 1 } else { rounds } {
                    let status = client.send(&head, body).unwrap_or_else(|error| panic!("{head}: {error}"));
                    assert_eq!(status, expected, "{head}");
                    let next = String::from_utf8_lossy(HEALTH).into_owned();
                    let status = client.send(&next, b"").unwrap_or_else(|error| panic!("after {head}: {error}"));
                    assert_eq!(status, 200, "after {head}");
                    asked += 2;
                }
            }
        }
    }
    eprintln!("{asked} requests, {} connections opened again", client.opened);
    assert_eq!(serve.count("dgm_panics_total"), 0);
    let failed =
        serve.metrics().lines().filter(|line| line.contains("status=\"5xx\"") && !line.ends_with(" 0")).count();
    assert_eq!(failed, 0);
}
