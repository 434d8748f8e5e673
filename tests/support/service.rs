//! A running service with a database of its own, seen from outside: by HTTP, by SQL, by signals.

use std::process::Output;

use reqwest::blocking::RequestBuilder;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::Database;
use super::answer::{Answer, answer};
use super::run::subfolder;
use super::serve::Serve;

/// The process with its database, without Redis.
pub(crate) struct Service {
    pub(crate) serve: Serve,
    pub(crate) database: Database,
    // Of its artifacts; removed after the process has stopped.
    _folder: TempDir,
}

impl Service {
    /// One that does not ask callers who they are, as `dgm dev`.
    pub(crate) fn open() -> Self {
        Self::start(&[("DGM__AUTH__REQUIRED", "false")])
    }

    /// One that asks for a token.
    pub(crate) fn closed() -> Self {
        Self::start(&[])
    }

    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let (database, folder) = (Database::ready(), subfolder());
        let artifacts = format!("file://{}", folder.path().display());
        let settings: Vec<_> =
            [("DGM__ARTIFACTS__URL", artifacts.as_str())].into_iter().chain(settings.iter().copied()).collect();
        let serve = Serve::start_with(&database, "", &settings);
        Self { serve, database, _folder: folder }
    }

    /// Ends the process by a signal; its exit code.
    pub(crate) fn signal(&mut self, signal: Signal) -> Option<i32> {
        self.serve.signal(signal)
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        self.database.sql(statement)
    }

    pub(crate) fn dgm(&self, arguments: &[&str]) -> Output {
        self.database.dgm(arguments)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.serve.request(method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.serve.call("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.serve.call("POST", path, Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.serve.call("PATCH", path, Some(body))
    }

    /// The text of the operations listener.
    pub(crate) fn ops(&self, path: &str) -> (u16, String) {
        let answer = answer(self.serve.operations(path));
        let Value::String(text) = answer.body else { panic!("{path} is no text: {answer:?}") };
        (answer.status, text)
    }
}
