//! Scheduled jobs. tokio-cron-scheduler is the clock and nothing more: exclusion, timeouts, history and metrics are here,
//! and the jobs stand in one table.

mod runner;

use std::time::Duration;

pub use runner::{Outcome, Runner};

use crate::service::{Error, Service};
use crate::telemetry::catalogue::labels;

/// A job: idempotent, bounded, run by one replica at a time.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Its name; the label of its metrics and the key of its lock.
    pub name: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// When: seconds, minutes, hours, days, months, weekdays (UTC).
    pub schedule: &'static str,
    /// It is cancelled after this.
    pub timeout: Duration,
    pub(crate) label: labels::Job,
    task: Task,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    RescueLeases,
    EnsurePartitions,
    PruneChanges,
}

/// Every job.
pub const JOBS: &[Job] = &[
    Job {
        name: "rescue-leases",
        purpose: "gives the improvements of workers that fell silent, or ran too long, to others",
        schedule: "*/5 * * * * *",
        timeout: Duration::from_mins(1),
        label: labels::Job::RescueLeases,
        task: Task::RescueLeases,
    },
    Job {
        name: "ensure-partitions",
        purpose: "makes the monthly partitions of the months to come",
        schedule: "0 7 * * * *",
        timeout: Duration::from_mins(2),
        label: labels::Job::EnsurePartitions,
        task: Task::EnsurePartitions,
    },
    Job {
        name: "prune-changes",
        purpose: "forgets changes of the archive from more than a day ago",
        schedule: "0 23 * * * *",
        timeout: Duration::from_mins(2),
        label: labels::Job::PruneChanges,
        task: Task::PruneChanges,
    },
];

impl Job {
    /// The job of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        JOBS.iter().find(|job| job.name == name)
    }

    async fn work(&self, service: &Service, premake_months: u32) -> Result<String, Error> {
        match self.task {
            Task::RescueLeases => {
                let rescued = service.rescue_leases().await?;
                Ok(format!("{} requeued, {} failed", rescued.requeued, rescued.failed))
            }
            Task::EnsurePartitions => {
                let made = service.ensure_partitions(premake_months).await?;
                Ok(format!("{made} made"))
            }
            Task::PruneChanges => Ok(format!("{} forgotten", service.prune_changes().await?)),
        }
    }
}
