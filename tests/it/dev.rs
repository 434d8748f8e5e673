//! `dgm dev` as a newcomer meets it: the real binary, its own PostgreSQL, its two listeners.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::make_traversable;

struct Dev {
    child: Child,
    api: u16,
    ops: u16,
    database: String,
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn command(directory: &Path, api: u16, ops: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command.args(["dev", "--port", &api.to_string(), "--ops-port", &ops.to_string(), "--data-dir"]).arg(directory);
    command
}

impl Dev {
    fn start(directory: &Path) -> Self {
        let (api, ops) = (free_port(), free_port());
        let mut child = command(directory, api, ops).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&format!("api http://127.0.0.1:{api} ")), "first line: {line:?}");
        let database = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, api, ops, database }
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    fn sql(&self, statement: &str) -> String {
        let Output { status, stdout, stderr } =
            Command::new("psql").args(["-XAtqc", statement]).arg(&self.database).output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // Not -KILL: the server it started must stop too.
            self.signal("-INT");
        }
    }
}

/// Status line and headers, and the body, of one request.
fn request(port: u16, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn it_serves_keeps_its_data_and_refuses_a_second_owner() {
    let directory = tempfile::tempdir().unwrap();
    make_traversable(directory.path());
    let mut dev = Dev::start(directory.path());
    for port in [dev.api, dev.ops] {
        assert!(request(port, "GET", "/health").0.starts_with("HTTP/1.1 200"));
        let (head, body) = request(port, "GET", "/ready");
        assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    }
    let (head, body) = request(dev.api, "GET", "/nothing");
    assert!(head.starts_with("HTTP/1.1 404") && head.contains("content-type: application/problem+json"), "{head}");
    assert!(body.contains(r#""type":"urn:dgm:problem:not-found""#), "{body}");
    assert!(request(dev.api, "POST", "/ready").0.starts_with("HTTP/1.1 405"));
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass";
    assert_eq!(dev.sql(partitions), "4");

    let second = command(directory.path(), free_port(), free_port()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another dgm process"));

    // A schema behind the binary is not ready, and says what to do.
    dev.sql("DELETE FROM _sqlx_migrations WHERE version = 9");
    let (head, body) = request(dev.api, "GET", "/ready");
    assert!(head.starts_with("HTTP/1.1 503") && body.contains("dgm migrate up"), "{head} {body}");
    dev.sql("DROP INDEX idx_dgm_archive_metrics_gin");

    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal("-INT"), Some(0));
    let dev = Dev::start(directory.path());
    assert_eq!(dev.sql("SELECT subject FROM users"), "kept");
    assert!(request(dev.api, "GET", "/ready").0.starts_with("HTTP/1.1 200"));
}

#[test]
fn it_takes_over_the_server_of_a_killed_owner() {
    let directory = tempfile::tempdir().unwrap();
    make_traversable(directory.path());
    let mut dev = Dev::start(directory.path());
    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal("-KILL"), None);
    let mut next = Dev::start(directory.path());
    assert_eq!(next.sql("SELECT subject FROM users"), "kept");
    assert_eq!(next.signal("-TERM"), Some(0));
}
