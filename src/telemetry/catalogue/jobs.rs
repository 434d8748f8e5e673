//! Scheduled jobs.

use super::labels::{Job, JobOutcome, label};
use super::{LONG, Label};

label! {
    /// A job that runs outside the service and reports to it.
    ReportedJob "job_name" { Backup "backup", BackupFiles "backup-files", RestoreDrill "restore-drill", }
}

impl ReportedJob {
    /// A regular expression (RE2) of their names.
    #[must_use]
    pub fn any() -> String {
        Self::values().join("|")
    }
}

/// A job of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the values say it")]
pub enum AnyJob {
    Scheduled(Job),
    Reported(ReportedJob),
}

impl Label for AnyJob {
    const NAME: &'static str = Job::NAME;

    fn values() -> Vec<&'static str> {
        [Job::values(), ReportedJob::values()].concat()
    }

    fn count() -> usize {
        Job::count() + ReportedJob::count()
    }

    fn index(self) -> usize {
        match self {
            Self::Scheduled(job) => job.index(),
            Self::Reported(job) => Job::count() + job.index(),
        }
    }
}

super::metrics! {
    /// Runs by job and outcome; skipped: another replica was at it, or had done it; lost: found out that its process had died.
    Counter JOB_RUNS<(Job, JobOutcome)> = "dgm_job_runs_total", "runs";
    /// Time of a run.
    Histogram JOB_DURATION<(Job,)> = "dgm_job_duration_seconds", "seconds", LONG;
    /// Runs under way in this process; over all replicas at most one of a job that runs on one of them.
    Gauge JOB_RUNNING<(Job,)> = "dgm_job_running", "runs";
    /// Occurrences of a schedule that nobody ran in time: all replicas were down, or busy.
    Counter JOB_MISSED<(Job,)> = "dgm_job_missed_total", "runs";
    /// Unix time of the last start in this process.
    Gauge JOB_LAST_START<(Job,)> = "dgm_job_last_start_timestamp_seconds", "seconds";
    /// Unix time of the last success: anywhere, of a job that one of all replicas runs or that is reported from outside (0 when
    /// it was reported and never succeeded); else in this process.
    Gauge JOB_LAST_SUCCESS<(AnyJob,)> = "dgm_job_last_success_timestamp_seconds", "seconds";
    /// Seconds between two occurrences of a job's schedule: the longest of the next ten pauses.
    Gauge JOB_INTERVAL<(Job,)> = "dgm_job_interval_seconds", "seconds";
}
