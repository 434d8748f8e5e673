//! Runs of scheduled jobs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::closed::wire;

wire! {
    /// How a run of a job ended.
    pub RunOutcome "outcome of a run" {
        /// Done.
        Success "success",
        /// It failed.
        Failure "failure",
        /// Not done within its timeout.
        Timeout "timeout",
        /// Its process stopped.
        Cancelled "cancelled",
        /// Its process died, as the next run found.
        Lost "lost",
    }
}

/// The answer to a request to run a job; `L` is the lock that a run holds.
#[derive(Debug)]
pub enum JobStart<L> {
    /// It may run.
    Run {
        /// Held for the duration of the run.
        lock: L,
        /// Earlier runs whose process died, as found now.
        lost: u64,
    },
    /// Another process runs it.
    Running,
    /// This scheduled run was made already.
    Done {
        /// As above.
        lost: u64,
    },
}

/// A run of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobRun {
    /// Rising.
    pub id: i64,
    /// Which job.
    pub job_name: String,
    /// Which replica ran it.
    pub instance: String,
    /// Which occurrence of its schedule it was; `null` for a run by hand.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended; `null` while it runs, or when its replica died and nobody ran the job since.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended; `null` like `finished_at`.
    pub outcome: Option<RunOutcome>,
    /// What it did, or why it failed.
    pub detail: Option<String>,
}
