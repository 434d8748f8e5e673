//! Processor time of the loader and of the server, so that a result limited by the loader is seen as such.

use std::env;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Reads processor time from its start on.
#[derive(Debug)]
pub(crate) struct Meter {
    server: Option<i32>,
    before: Cpu,
}

/// Processor seconds, user and system. `None` where the system does not tell: a process that is gone, a system other
/// than Linux.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Cpu {
    /// This process.
    pub(crate) loader_seconds: Option<f64>,
    /// The process of the environment's `DGM_SERVER_PID`; not its children.
    pub(crate) server_seconds: Option<f64>,
}

impl Cpu {
    fn now(server: Option<i32>) -> Self {
        Self { loader_seconds: seconds(None), server_seconds: server.and_then(|pid| seconds(Some(pid))) }
    }
}

impl Meter {
    /// Starts to measure.
    ///
    /// # Errors
    /// When `DGM_SERVER_PID` names no process.
    pub(crate) fn start() -> Result<Self> {
        let pid = env::var("DGM_SERVER_PID").ok().filter(|pid| !pid.is_empty());
        let server = pid.map(|pid| pid.parse::<i32>()).transpose().context("DGM_SERVER_PID")?;
        let before = Cpu::now(server);
        if let Some(pid) = server {
            before.server_seconds.with_context(|| format!("DGM_SERVER_PID {pid}: no such process to measure"))?;
        }
        Ok(Self { server, before })
    }

    /// What was used since the start.
    pub(crate) fn used(&self) -> Cpu {
        let now = Cpu::now(self.server);
        let since = |now: Option<f64>, then: Option<f64>| now.zip(then).map(|(now, then)| now - then);
        Cpu {
            loader_seconds: since(now.loader_seconds, self.before.loader_seconds),
            server_seconds: since(now.server_seconds, self.before.server_seconds),
        }
    }
}

/// Processor seconds of a process, of this one when none is named (`proc_pid_stat(5)`).
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ticks")]
fn seconds(pid: Option<i32>) -> Option<f64> {
    use procfs::process::Process;
    let stat = pid.map_or_else(Process::myself, Process::new).and_then(|process| process.stat()).ok()?;
    Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(not(target_os = "linux"))]
fn seconds(_pid: Option<i32>) -> Option<f64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn work_costs_time() {
        let meter = Meter { server: Some(i32::MAX), before: Cpu::now(None) };
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(start);
        }
        let used = meter.used();
        assert!(used.loader_seconds.unwrap() > 0.0);
        assert_eq!(used.server_seconds, None, "a process that is gone has no time");
    }
}
