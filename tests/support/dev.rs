//! A running `dgm dev`, seen from outside: by HTTP, by SQL, by signals.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use reqwest::blocking::{Client, RequestBuilder};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::answer::{Answer, answer};
use super::run::{folder, subfolder};
use super::{dgm, sql};

/// The process; stopped in order when dropped.
pub(crate) struct Dev {
    child: Child,
    pub(crate) api: u16,
    pub(crate) ops: u16,
    pub(crate) database: String,
    client: Client,
    // Removed after the process has stopped.
    directory: Option<TempDir>,
}

/// `dgm dev` on ports that the system chooses.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command.args(["dev", "--port", "0", "--ops-port", "0", "--data-dir"]).arg(directory).current_dir(folder());
    command
}

impl Dev {
    /// One in a directory of its own.
    pub(crate) fn new() -> Self {
        let directory = subfolder();
        let mut dev = Self::start(directory.path(), &[]);
        dev.directory = Some(directory);
        dev
    }

    pub(crate) fn start(directory: &Path, flags: &[&str]) -> Self {
        let mut command = command(directory);
        command.args(flags);
        Self::run(command)
    }

    pub(crate) fn run(mut command: Command) -> Self {
        // The exporter of traces leaves the choice of cryptography to the process; fails when it was made.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new();
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        // From here on a panic stops the process.
        let mut dev = Self { child, api: 0, ops: 0, database: String::new(), client, directory: None };
        let mut line = String::new();
        BufReader::new(dev.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = |before: &str, after: &str| {
            let found = line.split_once(before).and_then(|(_, rest)| rest.split_once(after));
            found.and_then(|(port, _)| port.parse().ok()).unwrap_or_else(|| panic!("first line: {line:?}"))
        };
        dev.api = port("api http://127.0.0.1:", "/api/v1 ");
        dev.ops = port("metrics http://127.0.0.1:", "/metrics ");
        assert!(line.contains(&format!("docs http://127.0.0.1:{}/docs ", dev.api)), "first line: {line:?}");
        line.trim().rsplit(' ').next().unwrap().clone_into(&mut dev.database);
        dev
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Option<i32> {
        super::signal(self.child.id(), signal).unwrap();
        self.child.wait().unwrap().code()
    }

    /// See [`sql`].
    pub(crate) fn sql(&self, statement: &str) -> String {
        sql(&self.database, statement)
    }

    /// Runs the binary against this database.
    pub(crate) fn dgm(&self, arguments: &[&str]) -> Output {
        dgm(&self.database, arguments)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        self.client.request(method.parse().unwrap(), url)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request("POST", path).json(body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        answer(self.request("PATCH", path).json(body))
    }

    /// The text of the operations listener.
    pub(crate) fn ops(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("http://127.0.0.1:{}{path}", self.ops)).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // Not -KILL: the server it started must stop too.
            self.signal(Signal::INT);
        }
    }
}
