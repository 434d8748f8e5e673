//! `dgm serve` against a PostgreSQL and a Redis of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Database;
use crate::support::dev::{Answer, answer, free_port};

struct Redis {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Redis {
    fn start(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server; `make setup` installs it");
        let redis = Self { child, port, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Serve {
    child: Child,
    api: String,
    ops: String,
    token: String,
    client: Client,
}

impl Serve {
    fn start(database: &Database, redis: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dgm"))
            .arg("serve")
            .envs([("DATABASE_URL", database.url().as_str()), ("REDIS_URL", redis)])
            .envs([("DGM__HTTP__BIND", "127.0.0.1:0"), ("DGM__HTTP__OPS_BIND", "127.0.0.1:0")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = child.stderr.take().unwrap();
        let mut serve = Self { child, api: String::new(), ops: String::new(), token: String::new(), client };
        let mut log = BufReader::new(log);
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let first: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON log: {line}"));
        assert_eq!(first["message"], "serving");
        let address = |field: &str| first["fields"][field].as_str().unwrap().to_owned();
        (serve.api, serve.ops) = (address("api"), address("operations"));
        // Read on, or the pipe fills up.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        serve
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = self.client.request(method.parse().unwrap(), format!("http://{}{path}", self.api));
        let request = request.bearer_auth(&self.token);
        answer(if let Some(body) = body { request.json(body) } else { request })
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let text = self.client.get(format!("http://{}/metrics", self.ops)).send().unwrap().text().unwrap();
        text.lines().find_map(|l| l.strip_prefix(line)).map(|value| value.trim().parse().unwrap())
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_replicas_share_redis_and_neither_needs_it() {
    let database = Database::start();
    assert!(database.dgm(&["migrate", "up"]).status.success());
    let made = database.dgm(&["token", "create", "--name", "t", "--role", "operator"]);
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let redis = Redis::start(free_port());
    let mut one = Serve::start(&database, &redis.url());
    let mut two = Serve::start(&database, &redis.url());
    assert_eq!(one.call("GET", "/api/v1/archive", None).status, 401, "serve always asks");
    one.token.clone_from(&token);
    two.token = token;

    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1.0});
    one.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
    let read = |serve: &Serve| serve.call("GET", "/api/v1/archive/e", None).expect(200)["accuracy_score"].clone();
    assert_eq!(read(&one), 0.5);
    // The other replica finds the finished bytes in Redis.
    assert_eq!(read(&two), 0.5);
    assert_eq!(two.metric("dgm_cache_requests_total{class=\"entry\",tier=\"l2\",result=\"hit\"}"), Some(1.0));
    assert_eq!(two.metric("dgm_cache_redis_up"), Some(1.0));
    assert_eq!(two.call("GET", "/ready", None).expect(200)["redis"], "up");
    // A session opened at one is known to the other.
    let session = one.call("POST", "/api/v1/sessions", None).expect(201)["session_token"].clone();
    let operator = std::mem::replace(&mut two.token, session.as_str().unwrap().to_owned());
    assert_eq!(two.call("GET", "/api/v1/sessions/current", None).expect(200)["name"], "t");
    two.token = operator;

    // A change is seen at once where it was made, and within the bound by the other.
    one.call("PATCH", "/api/v1/archive/e", Some(&json!({"accuracy_score": 0.75}))).expect(200);
    assert_eq!(read(&one), 0.75);
    let deadline = Instant::now() + dgm_service::cache::ttl::IN_PROCESS.mul_f64(1.1) + Duration::from_secs(1);
    while read(&two) != 0.75 {
        assert!(Instant::now() < deadline, "a stale entry past the bound");
        std::thread::sleep(Duration::from_millis(50));
    }

    // Redis goes away: everything goes on, and readiness says so.
    let port = redis.port;
    drop(redis);
    for n in 0..20 {
        let started = Instant::now();
        one.call("PATCH", "/api/v1/archive/e", Some(&json!({"accuracy_score": f64::from(n) / 100.0}))).expect(200);
        assert_eq!(read(&one), f64::from(n) / 100.0);
        assert!(started.elapsed() < Duration::from_secs(2), "a request waited for Redis");
    }
    assert_eq!(one.call("GET", "/ready", None).expect(200)["status"], "degraded");
    assert_eq!(one.metric("dgm_cache_redis_up"), Some(0.0));
    let redis = Redis::start(port);
    let deadline = Instant::now() + Duration::from_secs(15);
    while one.call("GET", "/ready", None).expect(200)["redis"] != "up" {
        one.call("GET", "/api/v1/archive/e", None).expect(200);
        assert!(Instant::now() < deadline, "Redis is back and not used");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(redis);
}
