//! Requests that take too long, and those that may; compressed responses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::support::holder::Holder;
use crate::support::service::Service;

const OPEN: (&str, &str) = ("DGM__AUTH__REQUIRED", "false");

fn entry(id: &str, statement: &str) -> Value {
    json!({"archive_entry_id": id, "service_name": "s", "problem_statement": statement, "accuracy_score": 0.5,
        "constitutional_compliance_score": 1})
}

#[test]
fn requests_end_in_time_and_streams_and_uploads_go_on() {
    let it = Service::start(&[OPEN, ("DGM__HTTP__REQUEST_TIMEOUT_SECONDS", "1")]);
    it.post("/api/v1/archive", &entry("e", "p")).expect(201);
    it.post("/api/v1/improvements", &json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"}))
        .expect(201);
    let begin = |request: &str| {
        let mut stream = TcpStream::connect(&it.serve.api).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(format!("{request}\r\nhost: localhost\r\n").as_bytes()).unwrap();
        stream
    };
    let mut listener = begin("GET /api/v1/improvements/i/events HTTP/1.1\r\nconnection: close");
    listener.write_all(b"\r\n").unwrap();
    let mut upload = begin("PUT /api/v1/archive/e/artifacts/a HTTP/1.1\r\ncontent-length: 10");
    upload.write_all(b"\r\nfirst").unwrap();
    // A body of JSON that does not come.
    let mut late = begin("POST /api/v1/archive HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 10");
    late.write_all(b"\r\n").unwrap();

    let holder = Holder::start(&it.database, "LOCK TABLE dgm_archive_inspirations IN ACCESS EXCLUSIVE MODE", 600);
    let answer = it.get("/api/v1/archive/e");
    assert_eq!((answer.status, answer.problem()), (503, "timeout"));
    let detail = "not answered within 1s (http.request_timeout_seconds), so that a write may or may not have been made: repeat it with \
        the same id, or ask for less";
    assert_eq!(answer.body["detail"], detail);
    drop(holder);
    thread::sleep(Duration::from_millis(300));

    let mut answer = [0; 512];
    let read = late.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 503"));
    upload.write_all(b"-last").unwrap();
    let read = upload.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 201"));
    it.sql("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now()");
    let mut rest = String::new();
    listener.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("event: cancelled"), "{rest}");
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

fn unpacked(response: Response) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let packed = response.bytes().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    thread::spawn(move || input.write_all(&packed));
    gzip.wait_with_output().unwrap().stdout
}

#[test]
fn large_texts_are_compressed_for_those_who_ask() {
    let it = Service::start(&[OPEN]);
    it.post("/api/v1/archive", &entry("large", &"text ".repeat(2000))).expect(201);
    it.post("/api/v1/archive", &entry("small", "p")).expect(201);
    it.post(
        "/api/v1/improvements",
        &json!({"improvement_id": "i", "service_name": "s", "problem_statement": "x".repeat(9000)}),
    )
    .expect(201);
    it.sql("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now()");
    let artifact = it.request("PUT", "/api/v1/archive/large/artifacts/a").header("content-type", "text/plain");
    assert_eq!(artifact.body("text ".repeat(2000)).send().unwrap().status(), 201);
    let get = |path: &str, accepted: &str| {
        let request = it.request("GET", path);
        let request = if accepted.is_empty() { request } else { request.header("accept-encoding", accepted) };
        request.send().unwrap()
    };
    for (path, accepted, expected) in [
        ("/api/v1/archive", "gzip", "gzip"),
        ("/api/v1/archive", "gzip, deflate, br, zstd", "gzip"),
        ("/api/v1/archive", "gzip;q=0", ""),
        ("/api/v1/archive", "br", ""),
        ("/api/v1/archive", "", ""),
        ("/api/v1/archive/large", "gzip", "gzip"),
        ("/api/v1/archive/large", "", ""),
        ("/api/v1/archive/small", "gzip", ""),
        ("/api/openapi.json", "gzip", "gzip"),
        ("/api/v1/improvements/i/events", "gzip", ""),
        ("/api/v1/archive/large/artifacts/a", "gzip", ""),
    ] {
        let response = get(path, accepted);
        assert_eq!(
            (response.status().as_u16(), header(&response, "content-encoding")),
            (200, expected.to_owned()),
            "{path} {accepted}"
        );
        if expected == "gzip" {
            assert_eq!(header(&response, "vary"), "accept-encoding");
            assert_eq!(unpacked(response), get(path, "").bytes().unwrap(), "{path}");
        }
    }
    // The tag of the compressed bytes names the same state.
    let (strong, weak) =
        (header(&get("/api/v1/archive/large", ""), "etag"), header(&get("/api/v1/archive/large", "gzip"), "etag"));
    assert_eq!(weak, format!("W/{strong}"));
    let known = it.request("GET", "/api/v1/archive/large").header("if-none-match", weak.as_str());
    assert_eq!(known.header("accept-encoding", "gzip").send().unwrap().status(), 304);
    let change = it
        .request("PATCH", "/api/v1/archive/large")
        .header("if-match", weak.as_str())
        .json(&json!({"accuracy_score": 0.6}));
    assert_eq!(change.send().unwrap().status(), 200);
}
