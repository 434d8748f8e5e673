//! Through nginx, as many installations have it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::answer::answer;
use crate::support::dev::free_port;
use crate::support::service::Service;
use crate::support::until;

/// Where Debian has it; ordinary users do not have this in their path.
const DEBIAN: &str = "/usr/sbin/nginx";

/// nginx before an API, with gzip; ends with the value.
struct Nginx {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn before(api: &str) -> Self {
        // Another process may take a port that was free.
        (0..5).find_map(|_| Self::start(api)).expect("nginx starts")
    }

    fn start(api: &str) -> Option<Self> {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let temporary: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {of};")).concat();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; pid nginx.pid; error_log stderr; {user} worker_processes 1; events {{ worker_connections 64; }}
             http {{ access_log off; {temporary} gzip on; gzip_min_length 1; gzip_proxied any; gzip_types application/json;
                 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{api}; }} }} }}"
        );
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let program = if Path::new(DEBIAN).exists() { DEBIAN } else { "nginx" };
        let mut nginx = Command::new(program);
        nginx.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]).stderr(Stdio::null());
        let child = nginx.spawn().expect("nginx; `make setup` installs it");
        let mut nginx = Self { child, port, _folder: folder };
        let mut ended = false;
        until("nginx answers or ends", || {
            ended = nginx.child.try_wait().unwrap().is_some();
            let response = reqwest::blocking::get(format!("http://127.0.0.1:{port}/health"));
            ended
                || response.is_ok_and(|response| {
                    response.headers().get("server").is_some_and(|name| name.as_bytes().starts_with(b"nginx"))
                })
        });
        (!ended).then_some(nginx)
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
    let url = format!("http://127.0.0.1:{}/api/v1/archive/root", nginx.port);
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
