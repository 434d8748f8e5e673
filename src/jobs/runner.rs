//! Runs jobs: one replica at a time, each occurrence once, within their time, on the record.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_cron_scheduler::{Job as Tick, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::{JOBS, Job, JobInfo, REPORTED, Schedules, Scope, instance};
use crate::domain::job::{JobStart, RunOutcome};
use crate::service::Services;
use crate::service::error::Error;
use crate::telemetry::catalogue::jobs::{
    self, AnyJob, JOB_DURATION, JOB_INTERVAL, JOB_LAST_START, JOB_LAST_SUCCESS, JOB_MISSED, JOB_RUNNING, JOB_RUNS,
};
use crate::telemetry::catalogue::labels::JobOutcome;
use crate::telemetry::catalogue::unix_seconds;
use crate::telemetry::spans::{self, Place};

/// How often missed occurrences are looked for.
const CATCH_UP: Duration = Duration::from_secs(10);
/// An occurrence that is older than this and its jitter, and was not run, is missed.
const PATIENCE: Duration = Duration::from_secs(15);
/// A clock that is less ahead of the database's by more than this was set back.
const SET_BACK: TimeDelta = TimeDelta::seconds(1);
/// Most missed occurrences that are counted at once.
const MISSED: usize = 1000;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; what was done, in words.
    Success(String),
    /// Another replica (or an earlier run here) is at it, or has done it.
    Skipped,
    /// It went wrong, or was cancelled or timed out.
    Failure(String),
}

impl Outcome {
    fn of(outcome: RunOutcome, detail: String) -> Self {
        if outcome == RunOutcome::Success { Self::Success(detail) } else { Self::Failure(detail) }
    }
}

/// A run under way; over also when it panics.
struct Running(jobs::Job);

impl Running {
    fn begin(job: jobs::Job) -> Self {
        JOB_RUNNING.set((job,), 1.0);
        Self(job)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        JOB_RUNNING.set((self.0,), 0.0);
    }
}

/// Runs jobs.
#[derive(Debug, Clone)]
pub struct Runner {
    services: Services,
    schedules: Arc<Schedules>,
    instance: String,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Runner {
    /// A runner; runs are cancelled when `stop` is.
    #[must_use]
    pub fn new(services: Services, schedules: Schedules, stop: CancellationToken) -> Self {
        Self { services, schedules: Arc::new(schedules), instance: instance(), stop, running: TaskTracker::new() }
    }

    /// Runs a job now, unless another run of it is under way anywhere or this occurrence of its schedule was run. Without
    /// an occurrence it is a run by hand.
    ///
    /// # Errors
    /// When the database cannot be asked for the job's lock.
    pub async fn run(&self, job: &'static Job, occurrence: Option<DateTime<Utc>>) -> Result<Outcome, Error> {
        self.run_for(job, occurrence, None).await
    }

    /// In a span that is linked to the one of whoever asked for the run.
    async fn run_for(
        &self,
        job: &'static Job,
        occurrence: Option<DateTime<Utc>>,
        asked: Option<Place>,
    ) -> Result<Outcome, Error> {
        let span = follow(job, asked);
        let run = self.run_once(job, occurrence).instrument(span.clone()).await;
        match &run {
            Ok(Outcome::Success(_)) => {}
            Ok(Outcome::Skipped) => _ = span.record("job.outcome", JobOutcome::Skipped.as_str()),
            Ok(Outcome::Failure(reason)) => spans::failed(&span, "job", reason),
            Err(error) => spans::failed(&span, "job", error),
        }
        run
    }

    async fn run_once(&self, job: &'static Job, occurrence: Option<DateTime<Utc>>) -> Result<Outcome, Error> {
        if job.scope == Scope::Each {
            let (outcome, detail) = self.work(job, std::future::pending()).await;
            return Ok(Outcome::of(outcome, detail));
        }
        let (lock, lost) = match self.services.jobs.start(job.name, &self.instance, occurrence).await? {
            JobStart::Run { lock, lost } => (Some(lock), lost),
            JobStart::Done { lost } => (None, lost),
            JobStart::Running => (None, 0),
        };
        JOB_RUNS.add((job.label(), JobOutcome::Lost), lost);
        let Some(mut lock) = lock else {
            JOB_RUNS.increment((job.label(), JobOutcome::Skipped));
            return Ok(Outcome::Skipped);
        };
        let (outcome, detail) = self.work(job, lock.lost()).await;
        lock.finish(outcome, &detail).await?;
        Ok(Outcome::of(outcome, detail))
    }

    /// Runs a job now, by hand; it goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub async fn run_detached(&self, job: &'static Job) -> Result<Outcome, Error> {
        let runner = self.clone();
        let asked = Place::here();
        let run = self.running.spawn(async move { runner.run_for(job, None, asked).await });
        run.await.unwrap_or_else(|_| Ok(Outcome::Failure("it panicked".to_owned())))
    }

    /// Every job, with its next and its last run.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list(&self) -> Result<Vec<JobInfo>, Error> {
        let mut jobs = Vec::new();
        for (job, schedule) in self.schedules.iter() {
            let last_run = self.services.jobs.runs(Some(job.name), 1).await?.pop();
            let (schedule, next_run) = (schedule.as_str().to_owned(), schedule.next(self.services.clock.timestamp()));
            let Job { name, purpose, scope, .. } = *job;
            jobs.push(JobInfo { name, purpose, scope, schedule, next_run, last_run });
        }
        for &(job, purpose) in REPORTED {
            let name = job.as_str();
            let last_run = self.services.jobs.runs(Some(name), 1).await?.pop();
            let (scope, schedule) = (Scope::Outside, String::new());
            jobs.push(JobInfo { name, purpose, scope, schedule, next_run: None, last_run });
        }
        Ok(jobs)
    }

    /// Does the work until it is done, its time is over, the process stops, or the right to it is lost; answers what was
    /// done, or why not, in words.
    async fn work(&self, job: &'static Job, lost: impl Future<Output = ()>) -> (RunOutcome, String) {
        let started = Instant::now();
        JOB_LAST_START.set((job.label(),), unix_seconds(self.services.clock.timestamp()));
        let running = Running::begin(job.label());
        let (outcome, detail) = tokio::select! {
            done = tokio::time::timeout(job.timeout, (job.work)(&self.services)) => match done {
                Ok(Ok(done)) => (RunOutcome::Success, done),
                Ok(Err(reason)) => (RunOutcome::Failure, reason),
                Err(_) => (RunOutcome::Timeout, format!("not done after {:?}", job.timeout)),
            },
            () = lost => (RunOutcome::Failure, "the connection that holds its lock broke".to_owned()),
            () = self.stop.cancelled() => (RunOutcome::Cancelled, "the process stops".to_owned()),
        };
        drop(running);
        JOB_DURATION.observe((job.label(),), started.elapsed());
        JOB_RUNS.increment((job.label(), outcome.into()));
        Span::current().record("job.outcome", outcome.as_str());
        if outcome == RunOutcome::Success {
            JOB_LAST_SUCCESS.set((AnyJob::Scheduled(job.label()),), unix_seconds(self.services.clock.timestamp()));
            tracing::debug!(job = job.name, done = detail, "job done");
        } else {
            tracing::warn!(job = job.name, reason = detail, "job failed");
        }
        (outcome, detail)
    }

    /// Runs jobs by their schedules until the process stops: those of each process, which also run at once, and with `shared`
    /// those of which one of all processes runs each occurrence.
    ///
    /// # Errors
    /// When a schedule is wrong.
    pub async fn schedule(&self, shared: bool) -> Result<(), JobSchedulerError> {
        let scheduler = self.start_ticks(shared).await?;
        JOBS.iter().filter(|job| job.scope == Scope::Each).for_each(|job| self.start(job, None, Duration::ZERO, 0));
        self.running.spawn(self.clone().keep(scheduler, shared));
        Ok(())
    }

    /// Catches up on missed occurrences and replaces the scheduler when the clock was set back, until the process stops.
    async fn keep(self, mut scheduler: JobScheduler, shared: bool) {
        let mut ahead = self.services.clock.ahead();
        loop {
            let round = async {
                if shared {
                    self.catch_up().await;
                }
                tokio::time::sleep(CATCH_UP).await;
            };
            if self.stop.run_until_cancelled(round).await.is_none() {
                break;
            }
            // The scheduler stores the next time of each job by this machine's clock. After that clock is set back, no job would
            // run until the clock reaches the stored time again.
            let before = std::mem::replace(&mut ahead, self.services.clock.ahead());
            if before.zip(ahead).is_some_and(|(before, now)| before - now > SET_BACK) {
                tracing::warn!("the clock of this machine was set back: all jobs are scheduled again");
                match self.start_ticks(shared).await {
                    Ok(started) => shut_down(std::mem::replace(&mut scheduler, started)).await,
                    Err(error) => {
                        tracing::warn!(%error, "jobs cannot be scheduled; the next attempt follows");
                        ahead = before;
                    }
                }
            }
        }
        shut_down(scheduler).await;
    }

    /// A running scheduler of all jobs; of the shared ones only with `shared`.
    async fn start_ticks(&self, shared: bool) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        for (job, schedule) in self.schedules.iter() {
            let interval =
                schedule.interval(self.services.clock.timestamp()).and_then(|interval| interval.to_std().ok());
            if let Some(interval) = interval {
                JOB_INTERVAL.set((job.label(),), interval.as_secs_f64());
            }
            if !shared && job.scope == Scope::One {
                continue;
            }
            let (runner, schedule) = (self.clone(), schedule.clone());
            // No occurrence may overtake the one before, which would pass for done.
            let jitter = interval.map_or(job.jitter, |interval| job.jitter.min(interval / 2));
            let tick = Tick::new_async(schedule.as_str().to_owned(), move |_, _| {
                let occurrence = schedule.latest(runner.services.clock.timestamp());
                let runner = runner.clone();
                Box::pin(async move { runner.start(job, occurrence, jitter, 0) })
            })?;
            scheduler.add(tick).await?;
        }
        scheduler.start().await?;
        Ok(scheduler)
    }

    /// Tracked, so that stopping waits for the record of a cancelled run.
    fn start(&self, job: &'static Job, occurrence: Option<DateTime<Utc>>, jitter: Duration, missed: usize) {
        let runner = self.clone();
        self.running.spawn(async move {
            let wait = tokio::time::sleep(jitter.mul_f64(rand::random()));
            if runner.stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
            match runner.run(job, occurrence).await {
                Ok(Outcome::Skipped) => {}
                Ok(_) => JOB_MISSED.add((job.label(),), missed as u64),
                Err(_) if runner.stop.is_cancelled() => {}
                Err(error) => {
                    JOB_RUNS.increment((job.label(), JobOutcome::Failure));
                    tracing::warn!(job = job.name, %error, "job could not start");
                }
            }
        });
    }

    /// Starts the jobs whose latest occurrence nobody ran: all replicas were down then, or the one that began it died.
    async fn catch_up(&self) {
        let now = self.services.clock.timestamp();
        for (job, schedule) in self.schedules.iter().filter(|(job, _)| job.scope == Scope::One) {
            let Some(latest) = schedule.latest(now) else { continue };
            let age = (now - latest).to_std().unwrap_or_default();
            if age < PATIENCE + job.jitter {
                continue;
            }
            match self.services.jobs.last_occurrence(job.name).await {
                Ok(Some(last)) if last >= latest => {}
                Ok(last) => {
                    // Without a record nothing was missed: the database is new.
                    let missed = last.map_or(0, |last| schedule.between(last, latest, MISSED));
                    self.start(job, Some(latest), Duration::ZERO, missed);
                }
                Err(error) => return tracing::debug!(%error, "missed jobs cannot be looked for"),
            }
        }
    }

    /// Waits until no run is under way.
    pub async fn drained(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

async fn shut_down(mut scheduler: JobScheduler) {
    if let Err(error) = scheduler.shutdown().await {
        tracing::debug!(%error, "the scheduler did not stop");
    }
}

/// The span of a run, a trace of its own; none when it was not chosen.
fn follow(job: &'static Job, asked: Option<Place>) -> Span {
    if !spans::is_chosen(None) {
        return Span::none();
    }
    let span = tracing::info_span!(
        parent: None,
        "job",
        otel.name = format!("job {}", job.name),
        otel.status_code = Empty,
        otel.status_description = Empty,
        error.type = Empty,
        job.name = job.name,
        job.outcome = Empty,
        trace_id = Empty,
    );
    spans::root(&span, None);
    if let Some(asked) = asked {
        asked.link_from(&span);
    }
    span
}
