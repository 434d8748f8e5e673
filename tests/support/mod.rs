//! What the suites share: real servers, real processes, and ways to look at them from outside.
#![allow(dead_code, reason = "no suite uses all of it")]

pub(crate) mod answer;
pub(crate) mod collector;
pub(crate) mod crash;
mod database;
pub(crate) mod dev;
pub(crate) mod faketime;
pub(crate) mod holder;
pub(crate) mod hostile;
pub(crate) mod parquet;
pub(crate) mod pgbouncer;
pub(crate) mod port;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod slow_flush;
mod slowdown;
mod sql;
pub(crate) mod stream;
pub(crate) mod wire;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use database::Database;
pub(crate) use slowdown::Slowdown;
pub(crate) use sql::sql;

/// Longest wait for something that must come; it is over when it has come, so this is for a machine that is very slow.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Runs the real binary against a database.
pub(crate) fn dgm(url: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dgm")).args(arguments).env("DATABASE_URL", url).output().unwrap()
}

/// A test that starts its own server states the reason, which must be a row of tests/README.md.
fn assert_listed(reason: &str, file: &str) {
    let row = format!("| `{file}` | {reason} |");
    assert!(include_str!("../README.md").contains(&row), "tests/README.md lacks the row {row}");
}

pub(crate) fn make_traversable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails when there is no such process.
pub(crate) fn signal(process: u32, signal: Signal) -> rustix::io::Result<()> {
    kill_process(Pid::from_raw(process.try_into().unwrap()).unwrap(), signal)
}

/// A number that the environment may set: how long a test runs.
pub(crate) fn setting(name: &str, ordinary: usize) -> usize {
    std::env::var(name).map_or(ordinary, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

/// The pause before the next poll of a condition: a quarter of the time so far. A poll opens a connection or renders all metrics, and
/// many tests wait at the same time.
fn pause(started: Instant) -> Duration {
    (started.elapsed() / 4).clamp(Duration::from_millis(10), Duration::from_millis(400))
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(pause(started));
    }
}

/// Waits until something holds that is promised within a time.
pub(crate) fn soon(what: &str, promised: Duration, mut holds: impl FnMut() -> bool) {
    let (slowdown, started) = (Slowdown::watch(), Instant::now());
    while !holds() {
        let allowed = slowdown.stretch(promised);
        assert!(started.elapsed() < allowed, "not within {promised:?}, for this machine {allowed:?}: {what}");
        std::thread::sleep(pause(started));
    }
}

/// Ends what runs until the flag is set; also when its owner panics, for whom the others would run on.
pub(crate) struct Stopper<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
