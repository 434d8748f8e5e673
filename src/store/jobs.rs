//! Exclusion and history of scheduled jobs.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Postgres};
use utoipa::ToSchema;

use super::error::Error;
use super::pool::{Store, timed};
use crate::telemetry::catalogue::statements::Statement;

const RUNS_OF_ALL: &str = "
    SELECT id, job_name, instance, started_at, finished_at, outcome, detail FROM dgm_job_runs ORDER BY id DESC LIMIT $1";
const RUNS_OF_ONE: &str = "
    SELECT id, job_name, instance, started_at, finished_at, outcome, detail FROM dgm_job_runs
    WHERE job_name = $1 ORDER BY started_at DESC, id DESC LIMIT $2";

/// The right to run a job, held by a session lock: it ends with the connection, whatever happens to the process.
#[derive(Debug)]
pub struct JobLock {
    connection: Option<PoolConnection<Postgres>>,
    job: &'static str,
    run: i64,
}

/// A run of a job.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct JobRun {
    /// Rising.
    pub id: i64,
    /// Which job.
    pub job_name: String,
    /// Which replica ran it.
    pub instance: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended; `null` while it runs, or when its replica died.
    pub finished_at: Option<DateTime<Utc>>,
    /// `success`, `failure`, `timeout` or `cancelled`.
    pub outcome: Option<String>,
    /// What it did, or why it failed.
    pub detail: Option<String>,
}

impl Store {
    /// Takes the job's lock and notes that a run starts; `None` when another replica runs it.
    ///
    /// # Errors
    /// The server's.
    pub async fn start_job(&self, job: &'static str, instance: &str) -> Result<Option<JobLock>, Error> {
        // The guard comes first: a caller that is cancelled while the lock is asked for must not give a connection that
        // may hold it back to the pool.
        let mut lock = JobLock { connection: Some(self.acquire().await?), job, run: 0 };
        if let Some(connection) = &mut lock.connection {
            let query = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('dgm.job.' || $1, 0))")
                .bind(job)
                .fetch_one(&mut **connection);
            if !timed::<bool>(Statement::JobRuns, query).await? {
                lock.connection.take();
                return Ok(None);
            }
        }
        if let Some(connection) = &mut lock.connection {
            let query =
                sqlx::query_scalar("INSERT INTO dgm_job_runs (job_name, instance) VALUES ($1, $2) RETURNING id")
                    .bind(job)
                    .bind(instance)
                    .fetch_one(&mut **connection);
            lock.run = timed(Statement::JobRuns, query).await?;
        }
        Ok(Some(lock))
    }

    /// How far this process's clock is ahead of the database's.
    ///
    /// # Errors
    /// The server's.
    pub async fn clock_skew(&self, now: DateTime<Utc>) -> Result<TimeDelta, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query_scalar::<_, DateTime<Utc>>("SELECT clock_timestamp()").fetch_one(&mut *connection);
        Ok(now - timed(Statement::Clock, query).await?)
    }

    /// The newest runs, of one job or of all.
    ///
    /// # Errors
    /// The server's.
    pub async fn job_runs(&self, job: Option<&str>, limit: i64) -> Result<Vec<JobRun>, Error> {
        let mut connection = self.acquire().await?;
        let query = match job {
            Some(job) => sqlx::query_as(RUNS_OF_ONE).bind(job).bind(limit),
            None => sqlx::query_as(RUNS_OF_ALL).bind(limit),
        };
        timed(Statement::JobRuns, query.fetch_all(&mut *connection)).await
    }
}

impl JobLock {
    /// Notes the outcome, forgets runs of the job from more than a week ago (a job may run every few seconds), and frees
    /// the lock.
    ///
    /// # Errors
    /// The server's; the lock is free in any case.
    pub async fn finish(mut self, outcome: &str, detail: &str) -> Result<(), Error> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let query = sqlx::query(
            "WITH done AS (UPDATE dgm_job_runs SET finished_at = clock_timestamp(), outcome = $2, detail = $3 WHERE id = $1),
                  old AS (DELETE FROM dgm_job_runs WHERE job_name = $4 AND started_at < now() - interval '7 days')
             SELECT pg_advisory_unlock(hashtextextended('dgm.job.' || $4, 0))",
        )
        .bind(self.run)
        .bind(outcome)
        .bind(detail)
        .bind(self.job)
        .execute(&mut **connection);
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
