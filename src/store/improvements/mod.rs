//! Statements on improvements: the queue.
//!
//! Time is the database's `now()` throughout: leases are judged by the one clock that all replicas share.

mod claim;
mod complete;
mod create;
mod events;
mod heartbeat;
mod life;
mod queue;

pub(super) use claim::Wish;
pub(super) use complete::Done;
pub(super) use create::Queueing;
pub(super) use heartbeat::Heartbeat;
pub use life::{Outcome, Refusal};
pub use queue::{Depth, Filter, Rescued};

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::domain::improvement::Improvement;

/// The columns of an [`Improvement`], read by [`improvement`].
macro_rules! improvement_columns {
    () => {
        "i.improvement_id, i.service_name, i.parent_entry_id, i.problem_statement, i.priority, i.status, \
         (i.status = 'running' AND i.lease_expires_at < now()) AS stale, i.progress, i.progress_message, \
         i.max_improvement_time, i.constitutional_constraints, i.performance_metrics, i.results, i.archive_entry_id, \
         i.error_message, i.worker, i.lease_expires_at, i.heartbeat_at, i.attempts, i.max_attempts, i.available_at, \
         i.started_at, i.completed_at, i.created_at, i.lease_token"
    };
}
pub(super) use improvement_columns;

pub(super) fn improvement(row: &PgRow) -> Result<Improvement, sqlx::Error> {
    Ok(Improvement {
        improvement_id: row.try_get("improvement_id")?,
        service_name: row.try_get("service_name")?,
        parent_entry_id: row.try_get("parent_entry_id")?,
        problem_statement: row.try_get("problem_statement")?,
        priority: row.try_get("priority")?,
        status: row.try_get("status")?,
        stale: row.try_get("stale")?,
        progress: row.try_get("progress")?,
        progress_message: row.try_get("progress_message")?,
        max_improvement_time: row.try_get("max_improvement_time")?,
        constitutional_constraints: row.try_get("constitutional_constraints")?,
        performance_metrics: row.try_get("performance_metrics")?,
        results: row.try_get("results")?,
        archive_entry_id: row.try_get("archive_entry_id")?,
        error_message: row.try_get("error_message")?,
        worker: row.try_get("worker")?,
        lease_expires_at: row.try_get("lease_expires_at")?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        attempts: row.try_get("attempts")?,
        max_attempts: row.try_get("max_attempts")?,
        available_at: row.try_get("available_at")?,
        started_at: row.try_get("started_at")?,
        completed_at: row.try_get("completed_at")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Improvements by their ids.
fn by_id(improvements: Vec<Improvement>) -> HashMap<String, Improvement> {
    improvements.into_iter().map(|improvement| (improvement.improvement_id.clone(), improvement)).collect()
}

/// Requests of a batch with their places.
type Round<'a, B> = Vec<(usize, &'a B)>;

/// A batch in rounds, each with any improvement once: what is there twice is judged by what became of the first. A round is
/// in the order of ids, so that two batches never wait for each other.
fn rounds<B>(batch: &[B], id: impl Fn(&B) -> &str) -> Vec<Round<'_, B>> {
    let mut rounds: Vec<Round<'_, B>> = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (place, request) in batch.iter().enumerate() {
        let nth = seen.entry(id(request)).or_default();
        match rounds.get_mut(*nth) {
            Some(round) => round.push((place, request)),
            None => rounds.push(vec![(place, request)]),
        }
        *nth += 1;
    }
    for round in &mut rounds {
        round.sort_by_key(|(_, request)| id(request));
    }
    rounds
}

/// The replies of all rounds in the order of the batch.
fn in_order<R>(mut replies: Vec<(usize, R)>) -> Vec<R> {
    replies.sort_by_key(|(place, _)| *place);
    replies.into_iter().map(|(_, reply)| reply).collect()
}
