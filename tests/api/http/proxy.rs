//! Through nginx, as many installations have it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::answer::answer;
use crate::support::port::Port;
use crate::support::service::Service;
use crate::support::until;

/// Where Debian has it; ordinary users do not have this in their path.
const DEBIAN: &str = "/usr/sbin/nginx";

/// nginx before an API, with gzip; ends with the value.
struct Nginx {
    child: Child,
    port: Port,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn before(api: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::claim());
        let temporary: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {of};")).concat();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; pid nginx.pid; error_log stderr; {user} worker_processes 1; events {{ worker_connections 64; }}
             http {{ access_log off; {temporary} gzip on; gzip_min_length 1; gzip_proxied any; gzip_types application/json;
                 server {{ listen {}; location / {{ proxy_pass http://{api}; }} }} }}",
            port.address()
        );
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let program = if Path::new(DEBIAN).exists() { DEBIAN } else { "nginx" };
        let mut nginx = Command::new(program);
        nginx.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]).stderr(Stdio::null());
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
