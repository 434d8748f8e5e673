//! The queue of improvements.

use uuid::Uuid;

use super::{Error, Service, new_id};
use crate::domain::improvement::{
    Claim, Claimed, Completion, DEFAULT_LEASE_SECONDS, Event, Failure, Heartbeat, Improvement, NewImprovement,
    Progress, Status,
};
use crate::domain::page::{self, Page, Position};
use crate::domain::validation::{Check, Invalid};
use crate::store::archive::Created;
pub use crate::store::improvements::{Filter, Rescued};
use crate::store::improvements::{Outcome, Refusal};
use crate::telemetry::catalogue::labels::{self, FinishOutcome, RescueOutcome};
use crate::telemetry::catalogue::queue::{
    IMPROVEMENT_RUN, IMPROVEMENT_WAIT, IMPROVEMENTS_CLAIMED, IMPROVEMENTS_FINISHED, LEASES_RESCUED,
};

const ORDER: &str = "queued";

impl Service {
    /// Queues an improvement; `true` when it is new, `false` when the same request had queued it before.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownReference`], [`Error::AlreadyExists`].
    pub async fn create_improvement(
        &self,
        new: NewImprovement,
        by: Option<Uuid>,
    ) -> Result<(Improvement, bool), Error> {
        new.validate()?;
        let id = new.improvement_id.clone().unwrap_or_else(new_id);
        match self.store.create_improvement(&id, new, by).await? {
            (Created::Conflict, _) => Err(Error::AlreadyExists { what: "improvement", id }),
            (created, improvement) => Ok((improvement, created == Created::New)),
        }
    }

    /// One improvement.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn improvement(&self, id: &str) -> Result<Improvement, Error> {
        valid_id(id)?;
        self.store.improvement(id).await?.ok_or_else(|| missing(id))
    }

    /// A page of improvements, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list_improvements(
        &self,
        filter: &Filter,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<Improvement>, Error> {
        let limit = page::limit(limit)?;
        let after = cursor.map(|cursor| Position::decode(cursor, ORDER)).transpose()?;
        let items = self.store.list_improvements(filter, after.as_ref(), limit).await?;
        let position = |i: &Improvement| Position {
            order: ORDER.to_owned(),
            score: None,
            time: Some(i.created_at),
            id: i.improvement_id.clone(),
        };
        Ok(Page::cut(items, limit, position))
    }

    /// Hands out work.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, Error> {
        claim.validate()?;
        let lease = claim.lease_seconds.unwrap_or(DEFAULT_LEASE_SECONDS);
        let max = claim.max.unwrap_or(1);
        let claimed = self.store.claim(&claim.worker, claim.services, max, lease).await?;
        for one in &claimed {
            let Improvement { priority, available_at, started_at, .. } = &one.improvement;
            let priority = labels::Priority::from(*priority);
            IMPROVEMENTS_CLAIMED.increment((priority,));
            if let Some(wait) = started_at.and_then(|started| (started - *available_at).to_std().ok()) {
                IMPROVEMENT_WAIT.observe((priority,), wait);
            }
        }
        Ok(claimed)
    }

    /// Starts a lease anew.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], [`Error::IllegalState`], [`Error::NotFound`].
    pub async fn heartbeat(&self, id: &str, beat: &Heartbeat) -> Result<Improvement, Error> {
        valid_id(id)?;
        beat.validate()?;
        let lease = beat.lease_seconds.unwrap_or(DEFAULT_LEASE_SECONDS);
        judged(id, "heartbeat", self.store.heartbeat(id, beat.lease_token, lease).await?)
    }

    /// Notes how far the work is.
    ///
    /// # Errors
    /// As [`Service::heartbeat`].
    pub async fn progress(&self, id: &str, progress: &Progress) -> Result<Improvement, Error> {
        valid_id(id)?;
        progress.validate()?;
        let outcome =
            self.store.progress(id, progress.lease_token, progress.progress, progress.message.clone()).await?;
        judged(id, "progress", outcome)
    }

    /// Completes an improvement, writing its entry in the same transaction.
    ///
    /// # Errors
    /// As [`Service::heartbeat`], and [`Error::AlreadyExists`], [`Error::UnknownReference`] for the entry.
    pub async fn complete(&self, id: &str, mut done: Completion, by: Option<Uuid>) -> Result<Improvement, Error> {
        valid_id(id)?;
        let now = self.now();
        let mut check = Check::default();
        check.object("results", done.results.as_ref().unwrap_or(&serde_json::Map::new()));
        check.done()?;
        // The entry's own checks must pass before the transaction starts, so it is checked with stand-ins for what the
        // improvement will fill in; those were checked when it was queued.
        if let Some(entry) = &mut done.archive_entry {
            entry.archive_entry_id.get_or_insert_with(new_id);
            entry.clone().into_entry("-", "", None).validate("/archive_entry", now)?;
        }
        let improvement = judged(id, "complete", self.store.complete(id, done, by).await?)?;
        finished(&improvement, FinishOutcome::Completed);
        self.forget_entries(improvement.archive_entry_id.as_deref().into_iter());
        Ok(improvement)
    }

    /// Notes that an attempt failed.
    ///
    /// # Errors
    /// As [`Service::heartbeat`].
    pub async fn fail(&self, id: &str, failure: &Failure) -> Result<Improvement, Error> {
        valid_id(id)?;
        failure.validate()?;
        let outcome = self.store.fail(id, failure.lease_token, &failure.error_message, failure.retryable).await?;
        let improvement = judged(id, "fail", outcome)?;
        if improvement.status == Status::Failed {
            finished(&improvement, FinishOutcome::Failed);
        }
        Ok(improvement)
    }

    /// Calls an improvement off.
    ///
    /// # Errors
    /// [`Error::IllegalState`] when it has ended, [`Error::NotFound`].
    pub async fn cancel(&self, id: &str) -> Result<Improvement, Error> {
        valid_id(id)?;
        let improvement = judged(id, "cancel", self.store.cancel(id).await?)?;
        finished(&improvement, FinishOutcome::Cancelled);
        Ok(improvement)
    }

    /// Queues a failed or cancelled improvement again.
    ///
    /// # Errors
    /// [`Error::IllegalState`] when it is neither, [`Error::NotFound`].
    pub async fn retry(&self, id: &str) -> Result<Improvement, Error> {
        valid_id(id)?;
        judged(id, "retry", self.store.retry(id).await?)
    }

    /// What happened to an improvement after the event `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn improvement_events(&self, id: &str, after: i64) -> Result<Vec<Event>, Error> {
        Ok(self.store.improvement_events(id, after).await?)
    }

    /// Ends the leases of workers that fell silent, all of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn rescue_leases(&self) -> Result<Rescued, Error> {
        const AT_ONCE: i64 = 500;
        let mut total = Rescued::default();
        loop {
            let rescued = self.store.rescue(AT_ONCE).await?;
            total.requeued += rescued.requeued;
            total.failed += rescued.failed;
            LEASES_RESCUED.add((RescueOutcome::Requeued,), rescued.requeued);
            LEASES_RESCUED.add((RescueOutcome::Failed,), rescued.failed);
            if rescued.requeued + rescued.failed < AT_ONCE.unsigned_abs() {
                return Ok(total);
            }
        }
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

fn judged(id: &str, verb: &str, outcome: Outcome) -> Result<Improvement, Error> {
    outcome.map_err(|refusal| match refusal {
        Refusal::Missing => missing(id),
        Refusal::LeaseLost => Error::LeaseLost(id.to_owned()),
        Refusal::State(state) => Error::IllegalState(format!("cannot {verb} an improvement that is {}", state.status)),
        Refusal::EntryConflict(id) => Error::AlreadyExists { what: "archive entry", id },
    })
}
