//! Statements on improvements: the queue.
//!
//! Time is the database's `now()` throughout: leases are checked by the one clock that all replicas share.

mod claim;
mod complete;
mod create;
mod heartbeat;
mod lifecycle;
mod queue;

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

pub use lifecycle::{Outcome, Refusal};
pub use queue::Depth;

use super::archive::Created;
use super::text::{json, optional_json};
use crate::batch::Writer;
use crate::db::{Database, Error};
use crate::domain::improvement::{Claimed, Completion, Improvement, NewImprovement};
use claim::{LeaseRequest, lease_alone};
use complete::Done;
use create::Queueing;
use heartbeat::{Heartbeat, Says};

/// A claim of more than this is a statement of its own.
const MAX_SHARED: u32 = 8;

/// Improvements; cheap to clone.
#[derive(Debug, Clone)]
pub struct ImprovementStore {
    database: Database,
    writers: Arc<Writers>,
}

#[derive(Debug)]
struct Writers {
    creates: Writer<Queueing>,
    leases: Writer<LeaseRequest>,
    completions: Writer<Done>,
    heartbeats: Writer<Heartbeat>,
}

impl ImprovementStore {
    pub(super) fn new(database: Database) -> Self {
        let writers = Writers {
            creates: Writer::new(database.clone()),
            leases: Writer::new(database.clone()),
            completions: Writer::new(database.clone()),
            heartbeats: Writer::new(database.clone()),
        };
        Self { database, writers: Arc::new(writers) }
    }

    /// Queues an improvement; durable when this returns.
    ///
    /// # Errors
    /// [`Error::MissingReference`] for an unknown parent, [`Error::Busy`].
    pub async fn create(
        &self,
        id: &str,
        new: NewImprovement,
        by: Option<Uuid>,
    ) -> Result<(Created, Improvement), Error> {
        let digest = new.digest();
        self.writers.creates.submit(Queueing { id: id.to_owned(), new, digest, by }).await
    }

    /// Leases at most `max` queued improvements to a worker, the most urgent and oldest first. No two callers get the same
    /// one.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn lease(
        &self,
        worker: &str,
        services: Option<Vec<String>>,
        max: u32,
        lease_seconds: u32,
    ) -> Result<Vec<Claimed>, Error> {
        let request = LeaseRequest { worker: worker.to_owned(), services, max, lease_seconds };
        if max > MAX_SHARED {
            return lease_alone(&self.database, &request).await;
        }
        self.writers.leases.submit(request).await
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn heartbeat(&self, id: &str, token: Uuid, lease_seconds: u32) -> Result<Outcome, Error> {
        let says = Says::Lease { seconds: lease_seconds };
        self.writers.heartbeats.submit(Heartbeat { id: id.to_owned(), token, says }).await
    }

    /// Records the progress, in percent.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn progress(
        &self,
        id: &str,
        token: Uuid,
        percent: i32,
        message: Option<String>,
    ) -> Result<Outcome, Error> {
        let says = Says::Progress { percent, message };
        self.writers.heartbeats.submit(Heartbeat { id: id.to_owned(), token, says }).await
    }

    /// Completes an improvement and writes its archive entry, which has its id set, in one transaction. A repeated call with
    /// the same lease returns the result of the first one.
    ///
    /// # Errors
    /// [`Error::MissingReference`] for an unknown parent or inspiration, [`Error::Busy`].
    pub async fn complete(&self, id: &str, completion: Completion, by: Option<Uuid>) -> Result<Outcome, Error> {
        self.writers.completions.submit(Done { id: id.to_owned(), completion, by }).await
    }

    /// Writes what is waiting and stops.
    pub(super) async fn close(&self) {
        self.writers.creates.close().await;
        self.writers.leases.close().await;
        self.writers.completions.close().await;
        self.writers.heartbeats.close().await;
    }
}

/// The columns of an [`Improvement`], read by [`improvement`]; `listed` for lists.
macro_rules! improvement_columns {
    () => {
        improvement_columns!(@ "i.problem_statement")
    };
    (listed) => {
        improvement_columns!(@ $crate::store::archive::listed_problem!("i.problem_statement"))
    };
    (@ $($problem:tt)*) => {
        concat!("i.improvement_id, i.service_name, i.parent_entry_id, ", $($problem)*, ", i.priority, i.status, \
         (i.status = 'running' AND i.lease_expires_at < now()) AS stale, i.progress, i.progress_message, \
         i.max_improvement_time, i.constitutional_constraints, i.performance_metrics, i.results, i.archive_entry_id, \
         i.error_message, i.worker, i.lease_expires_at, i.heartbeat_at, i.attempts, i.max_attempts, i.available_at, \
         i.started_at, i.completed_at, i.created_at, i.lease_token")
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
        constitutional_constraints: optional_json(row, "constitutional_constraints")?,
        performance_metrics: json(row, "performance_metrics")?,
        results: optional_json(row, "results")?,
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
