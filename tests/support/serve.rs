//! A running `dgm serve`, seen from outside; it can be killed and comes back on its ports.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use reqwest::blocking::{Client, RequestBuilder};
use rustix::process::Signal;
use serde_json::Value;

use super::answer::{Answer, answer};
use super::port::Port;
use super::run::folder;
use super::wire::Wire;
use super::{Database, signal, until};

/// The setting of a folder of log files.
pub(crate) const LOG_DIR: &str = "DGM__TELEMETRY__LOG_DIR";

/// The last lines of the log: a failed test prints them.
type Log = Arc<Mutex<VecDeque<String>>>;

/// Lines that are kept.
const LOG_LINES: usize = 30;

/// The process; killed when dropped.
pub(crate) struct Serve {
    child: Child,
    log: Log,
    environment: Vec<(String, String)>,
    pub(crate) api: String,
    pub(crate) ops: String,
    pub(crate) token: String,
    client: Client,
    program: PathBuf,
    _ports: [Port; 2],
}

impl Serve {
    pub(crate) fn start(database: &Database, redis: &str) -> Self {
        Self::start_with(database, redis, &[])
    }

    /// With further settings, by the names of their variables.
    pub(crate) fn start_with(database: &Database, redis: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_at(&database.url(), redis, settings)
    }

    /// As another role than the owner of the database.
    pub(crate) fn start_at(url: &str, redis: &str, settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut environment = vec![("DATABASE_URL", url), ("REDIS_URL", redis)];
        environment.extend(settings);
        let environment: Vec<(String, String)> =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let ports = [Port::claim(), Port::claim()];
        let [api, ops] = [ports[0].address(), ports[1].address()];
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dgm"));
        let log = Log::default();
        let child = spawn(&program, &environment, &api, &ops, &log);
        let client = plain_client();
        Self { child, log, environment, api, ops, token: String::new(), client, program, _ports: ports }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no handler of the process runs.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process by a signal; its exit code.
    pub(crate) fn signal(&mut self, with: Signal) -> Option<i32> {
        signal(self.child.id(), with).unwrap();
        self.child.wait().unwrap().code()
    }

    /// After its end: on the same ports, with the same settings.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.program, &self.environment, &self.api, &self.ops, &self.log);
    }

    /// What it starts as next: the same program, built from another revision.
    pub(crate) fn become_another_build(&mut self) {
        let revision = env!("DGM_REVISION");
        let other: String = revision.chars().rev().collect();
        assert!(revision.len() == 12 && revision != other, "a revision that occurs nowhere else: {revision}");
        let program = folder().join(format!("dgm-{other}"));
        std::fs::copy(&self.program, &program).unwrap();
        let change = format!("s/{revision}/{other}/g");
        let changed = Command::new("sed").env("LC_ALL", "C").args(["-i", &change]).arg(&program).status().unwrap();
        assert!(changed.success());
        self.program = program;
    }

    /// What it starts as next: the program of the tests.
    pub(crate) fn become_this_build(&mut self) {
        self.program = env!("CARGO_BIN_EXE_dgm").into();
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = self.request(method, path);
        answer(if let Some(body) = body { request.json(body) } else { request })
    }

    /// Asks until there is another answer than 503, which is what there is while Redis, or a connection, comes too late.
    pub(crate) fn insist(&self, method: &str, path: &str) -> Answer {
        let mut answer = self.call(method, path, None);
        until(&format!("{method} {path} is answered"), || {
            if answer.status == 503 {
                answer = self.call(method, path, None);
            }
            answer.status != 503
        });
        answer
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.request_as(&self.token, method, path)
    }

    /// By another caller.
    pub(crate) fn request_as(&self, token: &str, method: &str, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.api);
        let request = self.client.request(method.parse().unwrap(), url);
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    /// A request to the operations listener.
    pub(crate) fn operations(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.ops))
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(&self.api, &self.token).unwrap()
    }

    /// The text of the exposition.
    pub(crate) fn metrics(&self) -> String {
        self.operations("/metrics").send().unwrap().text().unwrap()
    }

    /// The value of one series, by its full name.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics();
        text.lines().find_map(|l| l.strip_prefix(series)).map(|value| value.trim().parse().unwrap())
    }

    /// The same of a counter; 0 before it counts.
    pub(crate) fn count(&self, series: &str) -> u64 {
        let text = self.metrics();
        text.lines().find_map(|l| l.strip_prefix(series)).map_or(0, |value| value.trim().parse().unwrap())
    }
}

/// A client that asks for no compression, which the features of other packages of the workspace would turn on.
pub(crate) fn plain_client() -> Client {
    Client::builder().no_gzip().build().unwrap()
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.log.lock().unwrap().iter() {
                eprintln!("{}: {line}", self.api);
            }
        }
    }
}

fn spawn(program: &Path, environment: &[(String, String)], api: &str, ops: &str, kept: &Log) -> Child {
    let mut child = Command::new(program)
        .arg("serve")
        .current_dir(folder())
        .envs([("DGM__HTTP__BIND", api), ("DGM__HTTP__OPS_BIND", ops)])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // Before it says where it serves it may warn of something, or fail at what it tries again.
    let is_before = |line: &str| ["WARN", "ERROR"].iter().any(|level| line.contains(&format!("\"level\":\"{level}\"")));
    let mut before = String::new();
    while log.read_line(&mut line).unwrap() > 0 && is_before(&line) {
        before.push_str(&line);
        line.clear();
    }
    if line.starts_with("dgm: logs go to ") {
        until("it answers", || TcpStream::connect(ops).is_ok());
        keep(log, kept);
        return child;
    }
    let first: Value = serde_json::from_str(&line).unwrap_or_default();
    if first["message"] != "serving" {
        let _ = child.kill();
        let _ = child.wait();
        panic!("dgm serve does not serve: {before}{line}");
    }
    keep(log, kept);
    child
}

/// Reads on, or the pipe would fill up.
fn keep(log: impl BufRead + Send + 'static, kept: &Log) {
    let kept = Arc::clone(kept);
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let mut kept = kept.lock().unwrap();
            if kept.len() == LOG_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
}
