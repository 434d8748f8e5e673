//! Scheduled jobs. tokio-cron-scheduler is the clock and nothing more: exclusion, timeouts, history and metrics are here,
//! and each job is one row of `JOBS`.

mod runner;
mod schedule;
mod work;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

pub use runner::{Outcome, Runner};
pub use schedule::{Schedule, Schedules};

use crate::domain::job::JobRun;
use crate::service::Services;
use crate::telemetry::catalogue::jobs::{self, ReportedJob};

/// A job as operators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// Who runs it.
    pub scope: Scope,
    /// When: seconds, minutes, hours, days, months, weekdays (UTC); empty where it is scheduled outside.
    pub schedule: String,
    /// Its next occurrence.
    pub next_run: Option<DateTime<Utc>>,
    /// Its last run; `null` for what each process does for itself, which is not on the record.
    pub last_run: Option<JobRun>,
}

/// Who runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One of all replicas, each occurrence once, on the record.
    One,
    /// Every process for itself.
    Each,
    /// Something outside the service, which reports each run.
    Outside,
}

/// A job: idempotent and bounded.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Its name; the label of its metrics and the key of its lock.
    pub name: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// Who runs it.
    pub scope: Scope,
    /// When, unless the settings say otherwise: seconds, minutes, hours, days, months, weekdays (UTC).
    pub schedule: &'static str,
    /// It starts at random within this time, so that not everything does at once.
    pub jitter: Duration,
    /// It is cancelled after this.
    pub timeout: Duration,
    /// Its work; answers what was done, or why not, in words.
    work: for<'a> fn(&'a Services) -> BoxFuture<'a, Result<String, String>>,
}

/// Every job.
pub const JOBS: &[Job] = &[
    Job {
        name: "rescue-leases",
        purpose: "gives the improvements of workers that fell silent, or ran too long, to others",
        scope: Scope::One,
        schedule: "*/5 * * * * *",
        jitter: Duration::ZERO,
        timeout: Duration::from_mins(1),
        work: |services| Box::pin(work::rescue_leases(services)),
    },
    Job {
        name: "ensure-partitions",
        purpose: "makes the monthly partitions of the months to come",
        scope: Scope::One,
        schedule: "0 7 * * * *",
        jitter: Duration::from_secs(5),
        timeout: Duration::from_mins(2),
        work: |services| Box::pin(work::ensure_partitions(services)),
    },
    Job {
        name: "enforce-retention",
        purpose: "exports (samples.export_url) and drops the monthly partitions of samples that are no longer kept",
        scope: Scope::One,
        schedule: "0 17 * * * *",
        jitter: Duration::from_secs(5),
        timeout: Duration::from_mins(30),
        work: |services| Box::pin(work::enforce_retention(services)),
    },
    Job {
        name: "prune-changes",
        purpose: "forgets changes of the archive from more than a day ago",
        scope: Scope::One,
        schedule: "0 23 * * * *",
        jitter: Duration::from_secs(5),
        timeout: Duration::from_mins(2),
        work: |services| Box::pin(work::prune_changes(services)),
    },
    Job {
        name: "warm-cache",
        purpose: "fetches the entries that are read most and are not in the cache",
        scope: Scope::Each,
        schedule: "30 */10 * * * *",
        jitter: Duration::from_mins(1),
        timeout: Duration::from_mins(1),
        work: |services| Box::pin(work::warm_cache(services)),
    },
    Job {
        name: "flush-access-counts",
        purpose: "writes down how often entries were read",
        scope: Scope::Each,
        schedule: "0 * * * * *",
        jitter: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        work: |services| Box::pin(work::flush_access_counts(services)),
    },
    Job {
        name: "collect-health",
        purpose: "measures partitions, tables, the queue and the servers for the metrics of this process",
        scope: Scope::Each,
        schedule: "*/15 * * * * *",
        jitter: Duration::from_secs(2),
        timeout: Duration::from_secs(30),
        work: |services| Box::pin(work::collect_health(services)),
    },
    Job {
        name: "prune-logs",
        purpose: "deletes log files (telemetry.log_dir) that are too old or beyond the size",
        scope: Scope::Each,
        schedule: "0 41 * * * *",
        jitter: Duration::from_secs(30),
        timeout: Duration::from_mins(5),
        work: |services| Box::pin(work::prune_logs(services)),
    },
    Job {
        name: "collect-artifacts",
        purpose: "removes files (artifacts.url) that no entry needs any more, and the rests of uploads",
        scope: Scope::One,
        schedule: "0 37 3 * * *",
        jitter: Duration::from_secs(30),
        timeout: Duration::from_hours(1),
        work: |services| Box::pin(work::collect_artifacts(services)),
    },
];

/// What is run outside the service, on a schedule of its own, and reported to it; what it does.
pub const REPORTED: &[(ReportedJob, &str)] = &[
    (ReportedJob::Backup, "backs the database up (backup/backup, or what you have in its place)"),
    (ReportedJob::BackupFiles, "brings files of entries and exported months to a copy (dgm files backup)"),
    (
        ReportedJob::RestoreDrill,
        "restores the newest backup elsewhere and looks whether all of it is there (backup/drill)",
    ),
];

/// This process on this machine, as the record names it.
#[must_use]
pub fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// The name of a job that is reported.
///
/// # Errors
/// Lists those that there are.
pub fn reported(name: &str) -> Result<&'static str, String> {
    let known: Vec<&str> = REPORTED.iter().map(|(job, _)| job.as_str()).collect();
    let found = known.iter().copied().find(|known| *known == name);
    found.ok_or_else(|| format!("no job {name:?} that is reported: {}", known.join(", ")))
}

/// The name of a job that is on the record, run here or reported.
///
/// # Errors
/// Lists those that are run here.
pub fn named(name: &str) -> Result<&'static str, String> {
    reported(name).or_else(|_| Job::named(name).map(|job| job.name))
}

impl Job {
    /// The job of a name.
    ///
    /// # Errors
    /// Lists those that there are.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        if reported(name).is_ok() {
            return Err(format!("{name} is run outside the service, which is only told of it (`dgm job report`)"));
        }
        let known = || JOBS.iter().map(|job| job.name).collect::<Vec<_>>().join(", ");
        JOBS.iter().find(|job| job.name == name).ok_or_else(|| format!("no job {name:?}: {}", known()))
    }

    /// The label of its metrics.
    fn label(&self) -> jobs::Job {
        jobs::Job::of(self.name)
    }
}

/// Hands the names of the table to the catalogue of metrics, whose label of jobs is made from them.
pub fn define_labels() {
    jobs::define(JOBS.iter().map(|job| job.name));
}
