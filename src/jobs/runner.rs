//! Runs jobs: one replica at a time, within their time, on the record.

use std::time::Instant;

use tokio_cron_scheduler::{Job as Tick, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{JOBS, Job};
use crate::service::health::unix_seconds;
use crate::service::{Error, Service};
use crate::telemetry::catalogue::jobs::{JOB_DURATION, JOB_LAST_SUCCESS, JOB_RUNS};
use crate::telemetry::catalogue::labels::JobOutcome;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; what was done, in words.
    Success(String),
    /// Another replica (or an earlier run here) is at it.
    Skipped,
    /// It went wrong, or was cancelled or timed out.
    Failure(String),
}

/// Runs jobs.
#[derive(Debug, Clone)]
pub struct Runner {
    service: Service,
    premake_months: u32,
    instance: String,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Runner {
    /// A runner; runs are cancelled when `stop` is.
    #[must_use]
    pub fn new(service: Service, premake_months: u32, stop: CancellationToken) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let instance = format!("{}:{}", host.trim(), std::process::id());
        Self { service, premake_months, instance, stop, running: TaskTracker::new() }
    }

    /// Runs a job now, unless another run of it is under way anywhere.
    ///
    /// # Errors
    /// When the database cannot be asked for the job's lock.
    pub async fn run(&self, job: &'static Job) -> Result<Outcome, Error> {
        let Some(lock) = self.service.start_job(job.name, &self.instance).await? else {
            JOB_RUNS.increment((job.label, JobOutcome::Skipped));
            return Ok(Outcome::Skipped);
        };
        let started = Instant::now();
        let task = job.work(&self.service, self.premake_months);
        let (label, word, outcome) = tokio::select! {
            done = tokio::time::timeout(job.timeout, task) => match done {
                Ok(Ok(done)) => (JobOutcome::Success, "success", Outcome::Success(done)),
                Ok(Err(error)) => (JobOutcome::Failure, "failure", Outcome::Failure(error.to_string())),
                Err(_) => (JobOutcome::Timeout, "timeout", Outcome::Failure(format!("not done after {:?}", job.timeout))),
            },
            () = self.stop.cancelled() => {
                (JobOutcome::Cancelled, "cancelled", Outcome::Failure("the process stops".to_owned()))
            }
        };
        JOB_DURATION.observe((job.label,), started.elapsed());
        JOB_RUNS.increment((job.label, label));
        let detail = match &outcome {
            Outcome::Success(done) => {
                JOB_LAST_SUCCESS.set((job.label,), unix_seconds(self.service.now()));
                tracing::debug!(job = job.name, done, "job done");
                done
            }
            Outcome::Failure(reason) => {
                tracing::warn!(job = job.name, reason, "job failed");
                reason
            }
            Outcome::Skipped => "",
        };
        lock.finish(word, detail).await?;
        Ok(outcome)
    }

    /// Starts the clock. The scheduler lives until it is shut down.
    ///
    /// # Errors
    /// When a schedule of the table is wrong.
    pub async fn schedule(&self) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        for job in JOBS {
            let runner = self.clone();
            let tick = Tick::new_async(job.schedule, move |_, _| {
                let runner = runner.clone();
                Box::pin(async move {
                    // Tracked, so that stopping waits for the record of a cancelled run.
                    let run = runner.clone();
                    drop(runner.running.spawn(async move {
                        if let Err(error) = run.run(job).await {
                            JOB_RUNS.increment((job.label, JobOutcome::Failure));
                            tracing::warn!(job = job.name, %error, "job could not start");
                        }
                    }));
                })
            })?;
            scheduler.add(tick).await?;
        }
        scheduler.start().await?;
        Ok(scheduler)
    }

    /// Waits until no run is under way.
    pub async fn drained(&self) {
        self.running.close();
        self.running.wait().await;
    }
}
