//! Runs of jobs: exclusion, history, and the metrics of their last success.

use chrono::{DateTime, Utc};

use super::error::Error;
use crate::domain::job::{JobRun, JobStart, RunOutcome};
use crate::store::jobs::{JobLock, JobStore, Report};
use crate::telemetry::catalogue::jobs::{AnyJob, JOB_LAST_SUCCESS, Job, ReportedJob};
use crate::telemetry::catalogue::{Label as _, unix_seconds};

/// Use cases of jobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct JobService {
    jobs: JobStore,
}

impl JobService {
    pub(super) const fn new(jobs: JobStore) -> Self {
        Self { jobs }
    }

    /// Records a run of a job outside the service, which ended now, with the beginning of its output.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn report(
        &self,
        job: &'static str,
        instance: String,
        started_at: DateTime<Utc>,
        outcome: RunOutcome,
        output: &str,
    ) -> Result<(), Error> {
        Ok(self.jobs.report(&Report::new(job, instance, started_at, outcome, output)).await?)
    }

    /// Starts a run of a job, unless another run of it is in progress anywhere or this scheduled run was made.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn start(
        &self,
        job: &'static str,
        instance: &str,
        occurrence: Option<DateTime<Utc>>,
    ) -> Result<JobStart<JobLock>, Error> {
        Ok(self.jobs.start(job, instance, occurrence).await?)
    }

    /// The latest scheduled run of a job that was made or is in progress.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn last_occurrence(&self, job: &str) -> Result<Option<DateTime<Utc>>, Error> {
        Ok(self.jobs.last_occurrence(job).await?)
    }

    /// The newest runs, of one job or of all.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn runs(&self, job: Option<&str>, limit: i64) -> Result<Vec<JobRun>, Error> {
        Ok(self.jobs.runs(job, limit).await?)
    }

    /// Publishes the last success of each job. Runs of every process count, so that each process reports the same.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn publish(&self) -> Result<(), Error> {
        let names: Vec<&str> = Job::all().map(Job::as_str).collect();
        for (name, at) in self.jobs.last_successes(&names).await? {
            JOB_LAST_SUCCESS.set((AnyJob::Scheduled(Job::of(&name)),), unix_seconds(at));
        }
        for (name, at) in self.jobs.reported(&ReportedJob::values()).await? {
            if let Some(job) = ReportedJob::ALL.iter().find(|job| job.as_str() == name) {
                JOB_LAST_SUCCESS.set((AnyJob::Reported(*job),), at.map_or(0.0, unix_seconds));
            }
        }
        Ok(())
    }
}
