//! The process and its runtime.

use super::LATENCY;
use super::labels::{Revision, Rustc, Version};

super::metrics! {
    /// 1, labelled with what was built.
    Gauge BUILD_INFO<(Version, Revision, Rustc)> = "dgm_build_info", "1";
    /// Time of processors that the process has used.
    Seconds CPU<()> = "process_cpu_seconds_total", "seconds";
    /// Memory of the process that is resident.
    Gauge RESIDENT<()> = "process_resident_memory_bytes", "bytes";
    /// Address space of the process.
    Gauge VIRTUAL<()> = "process_virtual_memory_bytes", "bytes";
    /// File descriptors that are open.
    Gauge OPEN_FILES<()> = "process_open_fds", "descriptors";
    /// File descriptors that may be open.
    Gauge MAX_FILES<()> = "process_max_fds", "descriptors";
    /// Threads of the process.
    Gauge THREADS<()> = "process_threads", "threads";
    /// Unix time at which the process began.
    Gauge STARTED<()> = "process_start_time_seconds", "seconds";
    /// Panics. A request that panics is answered with 500.
    Counter PANICS<()> = "dgm_panics_total", "panics";
    /// How far the clock of the process is ahead of the database's, less half the round trip of asking; negative: behind. Above
    /// 5 s either way, nothing is deleted on account of its age.
    Gauge CLOCK_DIFFERENCE<()> = "dgm_clock_difference_seconds", "seconds";
    /// Threads that run requests, jobs and writers.
    Gauge RUNTIME_WORKERS<()> = "dgm_runtime_workers", "threads";
    /// Time that these threads were not idle, all together.
    Seconds RUNTIME_BUSY<()> = "dgm_runtime_busy_seconds_total", "seconds";
    /// Tasks that have not ended.
    Gauge RUNTIME_TASKS<()> = "dgm_runtime_tasks", "tasks";
    /// Tasks that wait for any of the threads, those in the threads' own queues left out.
    Gauge RUNTIME_QUEUED<()> = "dgm_runtime_queued", "tasks";
    /// How late a task runs that is ready, measured ten times a second; a millisecond of it is the timer's.
    Histogram RUNTIME_DELAY<()> = "dgm_runtime_delay_seconds", "seconds", LATENCY;
}
