//! Through nginx, as many installations have it.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::blocking::Response;
use serde_json::json;

use crate::support::answer::answer;
use crate::support::port::Port;
use crate::support::run::subfolder;
use crate::support::service::Service;
use crate::support::{PATIENCE, soon, until};

/// Where Debian has it; ordinary users do not have this in their path.
const DEBIAN: &str = "/usr/sbin/nginx";
const EVENT_STREAM: &str = "text/event-stream";

/// nginx before an API, with gzip; ends with the value.
struct Nginx {
    child: Child,
    port: Port,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn before(api: &str) -> Self {
        let (folder, port) = (subfolder(), Port::claim());
        let temporary: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {of};")).concat();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; pid nginx.pid; error_log stderr; {user} worker_processes 1; events {{ worker_connections 64; }}
             http {{ access_log off; {temporary} gzip on; gzip_min_length 1; gzip_proxied any; gzip_types *;
                 server {{ listen {}; location / {{ proxy_pass http://{api}; }} }} }}",
            port.address()
        );
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let program = if Path::new(DEBIAN).exists() { DEBIAN } else { "nginx" };
        let mut nginx = Command::new(program);
        nginx
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .current_dir(folder.path())
            .stderr(Stdio::null());
        let child = nginx.spawn().expect("nginx; `make setup` installs it");
        let nginx = Self { child, port, _folder: folder };
        until("nginx answers", || {
            let response = reqwest::blocking::get(format!("http://{}/health", nginx.port.address()));
            response.is_ok_and(|response| response.headers().contains_key("server"))
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The workers end with it.
        let _ = crate::support::signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn an_entry_that_was_read_compressed_is_changed_by_the_tag_that_the_proxy_made_weak() {
    let api = Service::open();
    let entry = json!({"archive_entry_id": "root", "service_name": "agent", "problem_statement": "p".repeat(2_000),
        "accuracy_score": 0.5, "constitutional_compliance_score": 0.5});
    api.post("/api/v1/archive", &entry).expect(201);
    let nginx = Nginx::before(&api.serve.api);
    let client = reqwest::blocking::Client::new();
    let url = format!("http://{}/api/v1/archive/root", nginx.port.address());
    let read = client.get(&url).header("accept-encoding", "gzip").send().unwrap();
    // The client, which may decompress, removes content-encoding; the tag shows that it was compressed.
    let tag = read.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with("W/\"v1-"), "{tag}");
    let patch = |tag: &str| answer(client.patch(&url).header("if-match", tag).json(&json!({"accuracy_score": 0.75})));
    assert_eq!(patch(&tag).status, 200);
    assert_eq!(patch(&tag).problem(), "version-differs");
    let again = client.get(&url).header("accept-encoding", "gzip").header("if-none-match", &tag).send().unwrap();
    assert_eq!(again.status(), 200, "it was changed");
    let tag = again.headers()["etag"].to_str().unwrap();
    let same = client.get(&url).header("accept-encoding", "gzip").header("if-none-match", tag).send().unwrap();
    assert_eq!(same.status(), 304);
}

/// What arrives of a response, as it arrives.
fn arriving(mut response: Response) -> Arc<Mutex<Vec<u8>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&all);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = response.read(&mut bytes) {
            seen.lock().unwrap().extend_from_slice(&bytes[..read]);
        }
    });
    all
}

#[test]
fn events_arrive_at_once_and_a_quiet_stream_stays_open() {
    let api = Service::open();
    let new = json!({"improvement_id": "i", "service_name": "agent", "problem_statement": "p"});
    api.post("/api/v1/improvements", &new).expect(201);
    let nginx = Nginx::before(&api.serve.api);
    let url = format!("http://{}/api/v1/improvements/i/events", nginx.port.address());
    let open = |accepted: &str| {
        let request = crate::support::serve::plain_client().get(&url).header("accept-encoding", accepted);
        let response = request.timeout(PATIENCE).send().unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
            (200, EVENT_STREAM)
        );
        arriving(response)
    };
    // For one that asks for it this nginx compresses everything.
    let (plain, packed) = (open("identity"), open("gzip"));
    let length = || packed.lock().unwrap().len();
    let has = |text: &str| String::from_utf8_lossy(&plain.lock().unwrap()).contains(text);
    soon("the past arrives", Duration::from_secs(1), || has("event: queued\n") && length() > 0);
    let before = length();
    soon("a line keeps it open", Duration::from_secs(17), || has("\n:\n") && length() > before);
    let before = length();
    api.post("/api/v1/improvements/i/cancel", &json!({})).expect(200);
    soon("the end arrives", Duration::from_secs(1), || has("event: cancelled\n") && length() > before);
    // The client of JavaScript connects again, and does not when it is told that there is nothing.
    let last = api.sql("SELECT max(event_id) FROM dgm_improvement_events");
    let again = reqwest::blocking::Client::new().get(&url).header("last-event-id", last).send().unwrap();
    assert_eq!(again.status(), 204);
}
