//! Exclusion and history of scheduled jobs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Postgres};

use crate::db::{Database, Error, from_row, timed, timed_rows};
use crate::domain::job::{JobRun, JobStart, RunOutcome};
use crate::telemetry::catalogue::statements::{Statement, sql};

const RUNS_OF_ALL: &str = sql!(
    JobRuns,
    "
    SELECT id, job_name, instance, scheduled_for, started_at, finished_at, outcome, detail FROM dgm_job_runs
    ORDER BY id DESC LIMIT $1"
);
const RUNS_OF_ONE: &str = sql!(
    JobRuns,
    "
    SELECT id, job_name, instance, scheduled_for, started_at, finished_at, outcome, detail FROM dgm_job_runs
    WHERE job_name = $1 ORDER BY started_at DESC, id DESC LIMIT $2"
);

const LOCK: &str = sql!(JobRuns, "SELECT pg_try_advisory_lock(hashtextextended('dgm.job.' || $1, 0))");
const UNLOCK: &str = sql!(JobRuns, "SELECT pg_advisory_unlock(hashtextextended('dgm.job.' || $1, 0))");
/// Whoever has the lock knows that runs without an end are those of processes that died.
const SETTLE: &str = sql!(
    JobRuns,
    "
    UPDATE dgm_job_runs SET finished_at = clock_timestamp(), outcome = 'lost', detail = 'its process died'
    WHERE job_name = $1 AND finished_at IS NULL"
);
const START: &str = sql!(
    JobRuns,
    "
    INSERT INTO dgm_job_runs (job_name, instance, scheduled_for) VALUES ($1, $2, $3)
    ON CONFLICT (job_name, scheduled_for) WHERE outcome IS DISTINCT FROM 'lost' DO NOTHING RETURNING id"
);
const LAST: &str = sql!(
    JobRuns,
    "
    SELECT max(scheduled_for) FROM dgm_job_runs WHERE job_name = $1 AND outcome IS DISTINCT FROM 'lost'"
);
/// One look into the index for each job.
const SUCCESSES: &str = sql!(
    JobRuns,
    "
    SELECT job.name, run.finished_at FROM unnest($1::text[]) AS job (name) CROSS JOIN LATERAL (
        SELECT finished_at FROM dgm_job_runs WHERE job_name = job.name AND outcome = 'success' ORDER BY started_at DESC LIMIT 1
    ) AS run"
);
const FINISH: &str = sql!(
    JobRuns,
    "WITH done AS (UPDATE dgm_job_runs SET finished_at = clock_timestamp(), outcome = $2, detail = $3 WHERE id = $1),
         old AS (DELETE FROM dgm_job_runs WHERE job_name = $4 AND started_at < now() - interval '7 days')
    SELECT pg_advisory_unlock(hashtextextended('dgm.job.' || $4, 0))"
);

/// Of a job outside the service. Reports are few, and are kept for as long as backups are.
const REPORT: &str = sql!(
    JobRuns,
    "WITH old AS (DELETE FROM dgm_job_runs WHERE job_name = $1 AND started_at < now() - interval '100 days')
    INSERT INTO dgm_job_runs (job_name, instance, started_at, finished_at, outcome, detail)
    VALUES ($1, $2, $3, clock_timestamp(), $4, $5)"
);
const REPORTED: &str = sql!(
    JobRuns,
    "
    SELECT job_name, max(finished_at) FILTER (WHERE outcome = 'success') FROM dgm_job_runs WHERE job_name = ANY($1)
    GROUP BY job_name"
);

/// How often a run makes sure that it still has its lock.
const WATCH: Duration = Duration::from_secs(5);

/// The right to run a job, held by a session lock: it ends with the connection, whatever happens to the process.
#[derive(Debug)]
pub struct JobLock {
    connection: Option<PoolConnection<Postgres>>,
    job: &'static str,
    run: i64,
}

/// What is reported of a run outside the service.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which job.
    pub job: &'static str,
    /// The machine that ran it.
    pub instance: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// What it did, or why it failed.
    pub detail: String,
}

impl Report {
    /// Most characters of a detail: the whole log of what went wrong is not for this table.
    const DETAIL: usize = 2000;

    /// A run that ended now, with as much of what it said as is kept.
    #[must_use]
    pub fn new(
        job: &'static str,
        instance: String,
        started_at: DateTime<Utc>,
        outcome: RunOutcome,
        detail: &str,
    ) -> Self {
        let detail = detail.chars().take(Self::DETAIL).collect();
        Self { job, instance, started_at, outcome, detail }
    }
}

from_row!(JobRun { id, job_name, instance, scheduled_for, started_at, finished_at, outcome, detail });

/// Locks and history of jobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct JobStore {
    database: Database,
}

impl JobStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Takes the job's lock and notes that a run starts, of this occurrence of its schedule or, without one, by hand.
    ///
    /// # Errors
    /// The server's.
    pub async fn start(
        &self,
        job: &'static str,
        instance: &str,
        occurrence: Option<DateTime<Utc>>,
    ) -> Result<JobStart<JobLock>, Error> {
        // The guard comes first: a caller that is cancelled while the lock is asked for must not give a connection that
        // may hold it back to the pool.
        let mut lock = JobLock { connection: Some(self.database.locking.acquire().await?), job, run: 0 };
        let Some(connection) = &mut lock.connection else { return Ok(JobStart::Running) };
        let query = sqlx::query_scalar(LOCK).bind(job).fetch_one(&mut **connection);
        if !timed::<bool>(Statement::JobRuns, query).await? {
            lock.connection.take();
            return Ok(JobStart::Running);
        }
        let settled = timed(Statement::JobRuns, sqlx::query(SETTLE).bind(job).execute(&mut **connection)).await?;
        let lost = settled.rows_affected();
        let query = sqlx::query_scalar(START).bind(job).bind(instance).bind(occurrence);
        let started: Option<i64> = timed(Statement::JobRuns, query.fetch_optional(&mut **connection)).await?;
        let Some(run) = started else {
            timed(Statement::JobRuns, sqlx::query(UNLOCK).bind(job).execute(&mut **connection)).await?;
            lock.connection.take();
            return Ok(JobStart::Done { lost });
        };
        lock.run = run;
        Ok(JobStart::Run { lock, lost })
    }

    /// When each job last succeeded anywhere; of those that never did, nothing.
    ///
    /// # Errors
    /// The server's.
    pub async fn last_successes(&self, jobs: &[&str]) -> Result<Vec<(String, DateTime<Utc>)>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                timed_rows(Statement::JobRuns, sqlx::query_as(SUCCESSES).bind(jobs).fetch_all(&mut *connection)).await
            })
            .await
    }

    /// Notes a run that ended now, outside the service.
    ///
    /// # Errors
    /// The server's.
    pub async fn report(&self, report: &Report) -> Result<(), Error> {
        let Report { job, instance, started_at, outcome, detail } = report;
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(REPORT).bind(job).bind(instance).bind(started_at).bind(outcome).bind(detail);
        timed(Statement::JobRuns, query.execute(&mut *connection)).await?;
        Ok(())
    }

    /// Of these jobs those that were ever reported, and when each last succeeded.
    ///
    /// # Errors
    /// The server's.
    pub async fn reported(&self, jobs: &[&str]) -> Result<Vec<(String, Option<DateTime<Utc>>)>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                timed_rows(Statement::JobRuns, sqlx::query_as(REPORTED).bind(jobs).fetch_all(&mut *connection)).await
            })
            .await
    }

    /// The latest occurrence of a job's schedule that was run, or is being run.
    ///
    /// # Errors
    /// The server's.
    pub async fn last_occurrence(&self, job: &str) -> Result<Option<DateTime<Utc>>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                timed(Statement::JobRuns, sqlx::query_scalar(LAST).bind(job).fetch_one(&mut *connection)).await
            })
            .await
    }

    /// The newest runs, of one job or of all.
    ///
    /// # Errors
    /// The server's.
    pub async fn runs(&self, job: Option<&str>, limit: i64) -> Result<Vec<JobRun>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = match job {
                    Some(job) => sqlx::query_as(RUNS_OF_ONE).bind(job).bind(limit),
                    None => sqlx::query_as(RUNS_OF_ALL).bind(limit),
                };
                timed_rows(Statement::JobRuns, query.fetch_all(&mut *connection)).await
            })
            .await
    }
}

impl JobLock {
    /// Answers when the lock is gone with its connection: then another replica may run the job.
    pub async fn lost(&mut self) {
        while let Some(connection) = &mut self.connection {
            tokio::time::sleep(WATCH).await;
            if connection.ping().await.is_err() {
                return;
            }
        }
    }

    /// Notes the outcome, forgets runs of the job from more than a week ago (a job may run every few seconds), and frees
    /// the lock.
    ///
    /// # Errors
    /// The server's; the lock is free in any case.
    pub async fn finish(mut self, outcome: RunOutcome, detail: &str) -> Result<(), Error> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let query =
            sqlx::query(FINISH).bind(self.run).bind(outcome).bind(detail).bind(self.job).execute(&mut **connection);
        timed(Statement::JobRuns, query).await?;
        // Only now is the connection fit for others.
        self.connection.take();
        Ok(())
    }
}

impl Drop for JobLock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Closing the connection is what frees the lock.
            let detached = connection.detach();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(detached.close());
            }
        }
    }
}
