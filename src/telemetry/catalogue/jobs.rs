//! Scheduled jobs.

use super::LONG;
use super::labels::{Job, JobOutcome};

super::metrics! {
    /// Runs by job and outcome; skipped: another replica was at it.
    Counter JOB_RUNS<(Job, JobOutcome)> = "dgm_job_runs_total", "runs";
    /// Time of a run.
    Histogram JOB_DURATION<(Job,)> = "dgm_job_duration_seconds", "seconds", LONG;
    /// Unix time of the last success in this process.
    Gauge JOB_LAST_SUCCESS<(Job,)> = "dgm_job_last_success_timestamp_seconds", "seconds";
}
