//! Scheduled jobs.

use std::sync::OnceLock;

use super::labels::{JobOutcome, label};
use super::{LONG, Label};

/// The names of the table of jobs, which is above this layer and hands them in.
static SCHEDULED: OnceLock<Vec<&'static str>> = OnceLock::new();

/// States which jobs are scheduled, by name; the first call counts, and comes before anything is counted.
pub fn define(names: impl Iterator<Item = &'static str>) {
    SCHEDULED.get_or_init(|| names.collect());
}

fn scheduled() -> &'static [&'static str] {
    SCHEDULED.get().map_or(&[], Vec::as_slice)
}

/// A scheduled job. Not `job`, which Prometheus gives to every series of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job(usize);

impl Job {
    /// Every scheduled job.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..scheduled().len()).map(Self)
    }

    /// The label of a job; of a name that was not defined nothing is counted.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let jobs = scheduled();
        Self(jobs.iter().position(|known| *known == name).unwrap_or(jobs.len()))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        scheduled().get(self.0).copied().unwrap_or_default()
    }
}

impl Label for Job {
    const NAME: &'static str = "job_name";
    fn values() -> Vec<&'static str> {
        scheduled().to_vec()
    }
    fn count() -> usize {
        scheduled().len()
    }
    fn index(self) -> usize {
        self.0
    }
}

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
