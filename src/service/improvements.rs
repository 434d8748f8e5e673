//! The queue of improvements.

use std::sync::Arc;

use uuid::Uuid;

use super::error::Error;
use super::hub::Hub;
use super::ids::new_id;
use crate::cache::{Cache, Key};
use crate::domain::clock::Clock;
use crate::domain::improvement::{
    Claim, Claimed, Completion, DEFAULT_LEASE_SECONDS, Failure, Filter, Heartbeat, Improvement, NewImprovement,
    Progress, Rescued, Status,
};
use crate::domain::page::{self, Page, Position};
use crate::domain::validation::{Check, Invalid};
use crate::store::archive::Created;
use crate::store::improvements::{ImprovementStore, Outcome, Refusal};
use crate::telemetry::catalogue::labels::{self, FinishOutcome, RescueOutcome};
use crate::telemetry::catalogue::queue::{
    IMPROVEMENT_RUN, IMPROVEMENT_WAIT, IMPROVEMENTS_CLAIMED, IMPROVEMENTS_FINISHED, LEASES_RESCUED,
};

const ORDER: &str = "queued";

/// Use cases of the queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct ImprovementService {
    improvements: ImprovementStore,
    hub: Hub,
    /// A completion creates an archive entry.
    cache: Cache,
    clock: Arc<dyn Clock>,
}

impl ImprovementService {
    pub(super) const fn new(improvements: ImprovementStore, hub: Hub, cache: Cache, clock: Arc<dyn Clock>) -> Self {
        Self { improvements, hub, cache, clock }
    }

    /// Queues an improvement; `true` when it is new, `false` when the same request had queued it before.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownReference`], [`Error::AlreadyExists`].
    pub async fn create(&self, new: NewImprovement, by: Option<Uuid>) -> Result<(Improvement, bool), Error> {
        new.validate()?;
        let id = new.improvement_id.clone().unwrap_or_else(new_id);
        match self.improvements.create(&id, new, by).await? {
            (Created::Conflict, _) => Err(Error::AlreadyExists { what: "improvement", id }),
            (created, improvement) => Ok((improvement, created == Created::New)),
        }
    }

    /// One improvement.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, id: &str) -> Result<Improvement, Error> {
        valid_id(id)?;
        self.improvements.find(id).await?.ok_or_else(|| missing(id))
    }

    /// A page of improvements, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(
        &self,
        filter: &Filter,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<Improvement>, Error> {
        let limit = page::limit(limit)?;
        let after = cursor.map(|cursor| Position::decode(cursor, ORDER)).transpose()?;
        let items = self.improvements.list(filter, after.as_ref(), limit).await?;
        let position = |i: &Improvement| Position {
            order: ORDER.to_owned(),
            score: None,
            time: Some(i.created_at),
            id: i.improvement_id.clone(),
        };
        Ok(Page::cut(items, limit, position))
    }

    /// Assigns queued improvements to a worker.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub async fn assign(&self, claim: Claim) -> Result<Vec<Claimed>, Error> {
        claim.validate()?;
        let lease = claim.lease_seconds.unwrap_or(DEFAULT_LEASE_SECONDS);
        let max = claim.max.unwrap_or(1);
        let claimed = self.improvements.lease(&claim.worker, claim.services, max, lease).await?;
        for one in &claimed {
            self.hub.changed(&one.improvement.improvement_id);
            let Improvement { priority, available_at, started_at, .. } = &one.improvement;
            let priority = labels::Priority::from(*priority);
            IMPROVEMENTS_CLAIMED.increment((priority,));
            if let Some(wait) = started_at.and_then(|started| (started - *available_at).to_std().ok()) {
                IMPROVEMENT_WAIT.observe((priority,), wait);
            }
        }
        Ok(claimed)
    }

    /// Renews a lease.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], [`Error::IllegalState`], [`Error::NotFound`].
    pub async fn heartbeat(&self, id: &str, beat: &Heartbeat) -> Result<Improvement, Error> {
        valid_id(id)?;
        beat.validate()?;
        let lease = beat.lease_seconds.unwrap_or(DEFAULT_LEASE_SECONDS);
        or_error(id, "heartbeat", self.improvements.heartbeat(id, beat.lease_token, lease).await?)
    }

    /// Records the progress.
    ///
    /// # Errors
    /// As [`ImprovementService::heartbeat`].
    pub async fn progress(&self, id: &str, progress: &Progress) -> Result<Improvement, Error> {
        valid_id(id)?;
        progress.validate()?;
        let outcome =
            self.improvements.progress(id, progress.lease_token, progress.progress, progress.message.clone()).await?;
        Ok(self.changed(or_error(id, "progress", outcome)?))
    }

    /// Completes an improvement, writing its entry in the same transaction.
    ///
    /// # Errors
    /// As [`ImprovementService::heartbeat`], and [`Error::AlreadyExists`], [`Error::UnknownReference`] for the entry.
    pub async fn complete(&self, id: &str, mut done: Completion, by: Option<Uuid>) -> Result<Improvement, Error> {
        valid_id(id)?;
        let now = self.clock.timestamp();
        let mut check = Check::default();
        check.object("results", done.results.as_ref().unwrap_or(&serde_json::Map::new()));
        check.done()?;
        // The entry's own checks must pass before the transaction starts, so it is checked with stand-ins for what the
        // improvement will fill in; those were checked when it was queued.
        if let Some(entry) = &mut done.archive_entry {
            entry.archive_entry_id.get_or_insert_with(new_id);
            entry.clone().into_entry("-", "", None).validate("/archive_entry", now)?;
        }
        let improvement = self.changed(or_error(id, "complete", self.improvements.complete(id, done, by).await?)?);
        finished(&improvement, FinishOutcome::Completed);
        if let Some(id) = &improvement.archive_entry_id {
            // The entry may be cached as absent.
            self.cache.drop_local(&Key::Entry { id: id.clone() });
        }
        Ok(improvement)
    }

    /// Records that an attempt failed.
    ///
    /// # Errors
    /// As [`ImprovementService::heartbeat`].
    pub async fn fail(&self, id: &str, failure: &Failure) -> Result<Improvement, Error> {
        valid_id(id)?;
        failure.validate()?;
        let outcome =
            self.improvements.fail(id, failure.lease_token, &failure.error_message, failure.retryable).await?;
        let improvement = self.changed(or_error(id, "fail", outcome)?);
        if improvement.status == Status::Failed {
            finished(&improvement, FinishOutcome::Failed);
        }
        Ok(improvement)
    }

    /// Cancels an improvement.
    ///
    /// # Errors
    /// [`Error::IllegalState`] when it has ended, [`Error::NotFound`].
    pub async fn cancel(&self, id: &str) -> Result<Improvement, Error> {
        valid_id(id)?;
        let improvement = self.changed(or_error(id, "cancel", self.improvements.cancel(id).await?)?);
        finished(&improvement, FinishOutcome::Cancelled);
        Ok(improvement)
    }

    /// Queues a failed or cancelled improvement again.
    ///
    /// # Errors
    /// [`Error::IllegalState`] when it is neither, [`Error::NotFound`].
    pub async fn retry(&self, id: &str) -> Result<Improvement, Error> {
        valid_id(id)?;
        Ok(self.changed(or_error(id, "retry", self.improvements.retry(id).await?)?))
    }

    /// Ends every lease whose worker stopped responding.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn rescue_leases(&self) -> Result<Rescued, Error> {
        const BATCH: i64 = 500;
        let mut total = Rescued::default();
        loop {
            let rescued = self.improvements.rescue(BATCH).await?;
            total.requeued += rescued.requeued;
            total.failed += rescued.failed;
            LEASES_RESCUED.add((RescueOutcome::Requeued,), rescued.requeued);
            LEASES_RESCUED.add((RescueOutcome::Failed,), rescued.failed);
            if rescued.requeued + rescued.failed > 0 {
                self.hub.some_changed();
            }
            if rescued.requeued + rescued.failed < BATCH.unsigned_abs() {
                return Ok(total);
            }
        }
    }

    /// Wakes those who follow it.
    fn changed(&self, improvement: Improvement) -> Improvement {
        self.hub.changed(&improvement.improvement_id);
        improvement
    }
}

fn finished(improvement: &Improvement, outcome: FinishOutcome) {
    IMPROVEMENTS_FINISHED.increment((outcome,));
    // One that was never claimed did not run.
    let run = improvement.completed_at.zip(improvement.started_at).and_then(|(end, start)| (end - start).to_std().ok());
    if let Some(run) = run {
        IMPROVEMENT_RUN.observe((outcome,), run);
    }
}

fn valid_id(id: &str) -> Result<(), Invalid> {
    let mut check = Check::default();
    check.id("improvement_id", id);
    check.done()
}

fn missing(id: &str) -> Error {
    Error::NotFound { what: "improvement", id: id.to_owned() }
}

fn or_error(id: &str, verb: &str, outcome: Outcome) -> Result<Improvement, Error> {
    outcome.map_err(|refusal| match refusal {
        Refusal::Missing => missing(id),
        Refusal::LeaseLost => Error::LeaseLost(id.to_owned()),
        Refusal::State(state) => Error::IllegalState(format!("cannot {verb} an improvement that is {}", state.status)),
        Refusal::EntryConflict(id) => Error::AlreadyExists { what: "archive entry", id },
    })
}
