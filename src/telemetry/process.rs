//! The process and its runtime, measured.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use procfs::WithCurrentSystemInfo as _;
use procfs::process::{LimitValue, Process};

use super::catalogue::figure;
use super::catalogue::process::{
    CPU, MAX_FILES, OPEN_FILES, RESIDENT, RUNTIME_BUSY, RUNTIME_DELAY, RUNTIME_QUEUED, RUNTIME_TASKS, RUNTIME_WORKERS,
    STARTED, THREADS, VIRTUAL,
};

/// Between two measurements of how late tasks run.
const PROBE: Duration = Duration::from_millis(100);

/// Publishes what the operating system and the runtime tell now. What cannot be read keeps its last value.
pub(super) fn observe() {
    observe_runtime();
    if let Ok(process) = Process::myself() {
        let _ = observe_process(&process);
    }
}

fn observe_process(process: &Process) -> procfs::ProcResult<()> {
    let stat = process.stat()?;
    let ticks = u32::try_from(procfs::ticks_per_second()).unwrap_or(100);
    let used = Duration::from_secs(stat.utime + stat.stime) / ticks;
    CPU.absolute((), used);
    RESIDENT.set((), figure(stat.rss_bytes().get()));
    VIRTUAL.set((), figure(stat.vsize));
    THREADS.set((), figure(stat.num_threads));
    OPEN_FILES.set((), figure(process.fd_count()?));
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        MAX_FILES.set((), figure(most));
    }
    Ok(())
}

/// Publishes when the process began: now.
pub(super) fn began() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    STARTED.set((), since.unwrap_or_default().as_secs_f64());
}

fn observe_runtime() {
    let Ok(handle) = tokio::runtime::Handle::try_current() else { return };
    let runtime = handle.metrics();
    RUNTIME_WORKERS.set((), figure(runtime.num_workers()));
    RUNTIME_TASKS.set((), figure(runtime.num_alive_tasks()));
    RUNTIME_QUEUED.set((), figure(runtime.global_queue_depth()));
    let busy = (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
    RUNTIME_BUSY.absolute((), busy);
}

/// Measures how late tasks run, for ever.
pub async fn watch_delay() {
    loop {
        let due = Instant::now() + PROBE;
        tokio::time::sleep_until(due.into()).await;
        RUNTIME_DELAY.observe((), due.elapsed());
    }
}
