//! Processor time of those that take part, so that a reader sees who was the bottleneck.

use std::env;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Those that are measured where they are on this machine, with the variable that names their process.
const OTHERS: [(&str, &str); 3] =
    [("service", "DGM_SERVER_PID"), ("PostgreSQL", "DGM_POSTGRES_PID"), ("Redis", "DGM_REDIS_PID")];

/// Reads processor time from its start on.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Vec<(&'static str, Option<i32>)>,
    before: Vec<Option<f64>>,
    began: Instant,
}

/// Processor time of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) program: String,
    /// User and system.
    pub(crate) seconds: f64,
    /// Cores kept busy: the seconds beside those of the run.
    pub(crate) cores: f64,
}

impl Meter {
    /// Starts to measure this process and those that the environment names.
    ///
    /// # Errors
    /// When a variable names no process.
    pub(crate) fn start() -> Result<Self> {
        let mut processes = Vec::new();
        for (name, variable) in OTHERS {
            let Some(pid) = env::var(variable).ok().filter(|pid| !pid.is_empty()) else { continue };
            let pid = pid.parse::<i32>().with_context(|| format!("{variable}={pid}"))?;
            seconds(Some(pid)).with_context(|| format!("{variable} {pid}: no such process to measure"))?;
            processes.push((name, Some(pid)));
        }
        Ok(Self::of(processes))
    }

    /// Starts to measure this process and these, by name.
    pub(crate) fn of(others: impl IntoIterator<Item = (&'static str, Option<i32>)>) -> Self {
        let processes: Vec<_> = std::iter::once(("load test", None)).chain(others).collect();
        let before = processes.iter().map(|(_, pid)| seconds(*pid)).collect();
        Self { processes, before, began: Instant::now() }
    }

    /// What was used since the start; of one that is gone nothing is known.
    pub(crate) fn used(&self) -> Vec<Share> {
        let elapsed = self.began.elapsed().as_secs_f64();
        let used = self.processes.iter().zip(&self.before).filter_map(|((program, pid), before)| {
            let seconds = seconds(*pid)? - (*before)?;
            Some(Share { program: (*program).to_owned(), seconds, cores: seconds / elapsed })
        });
        used.collect()
    }
}

/// Cores that all of them kept busy.
pub(crate) fn cores(shares: &[Share]) -> f64 {
    shares.iter().map(|share| share.cores).sum()
}

/// Processor seconds of a process (of this one when none is named) and of its children (`proc_pid_stat(5)`): PostgreSQL is
/// its first process and those it has started. What children used that have ended stands in their parent's books.
#[cfg(target_os = "linux")]
fn seconds(pid: Option<i32>) -> Option<f64> {
    use procfs::process::{Process, all_processes};
    let Some(pid) = pid else {
        return Process::myself().and_then(|process| process.stat()).ok().map(|stat| ticks(stat.utime + stat.stime));
    };
    let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
    let ended = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    let children = all_processes().ok()?.flatten().filter_map(|process| process.stat().ok());
    let children: u64 = children.filter(|stat| stat.ppid == pid).map(|stat| stat.utime + stat.stime).sum();
    Some(ticks(stat.utime + stat.stime + ended + children))
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ticks")]
fn ticks(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

#[cfg(not(target_os = "linux"))]
fn seconds(_pid: Option<i32>) -> Option<f64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_costs_time_and_who_is_gone_has_none() {
        let meter = Meter::of([("gone", Some(i32::MAX))]);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(start);
        }
        let used = meter.used();
        assert_eq!(used.len(), 1, "{used:?}");
        assert!(used[0].seconds > 0.0 && used[0].cores > 0.0, "{used:?}");
    }
}
