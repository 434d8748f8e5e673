//! Improvements: jobs that workers claim under a lease.

mod queue;
mod requests;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::closed::wire;
use crate::domain::json::Json;
pub use queue::{Filter, Rescued};
pub use requests::{
    Claim, Completion, DEFAULT_LEASE_SECONDS, Failure, Heartbeat, NewImprovement, Progress, ResultEntry,
};

wire! {
    /// The order in which improvements are claimed is highest priority first, then by age.
    #[derive(Default)]
    pub Priority "priority" {
        /// When nothing else is queued.
        Low "low",
        /// The default.
        #[default]
        Medium "medium",
        /// Before the default.
        High "high",
        /// Before everything.
        Critical "critical",
    }
}

wire! {
    /// The state of an improvement.
    #[schema(as = ImprovementStatus)]
    pub Status "improvement status" {
        /// Waits for a worker.
        Queued "queued",
        /// Held by a worker.
        Running "running",
        /// Done.
        Completed "completed",
        /// Given up after its attempts.
        Failed "failed",
        /// Called off.
        Cancelled "cancelled",
    }
}

impl Status {
    /// Whether it has ended; only a retry by an operator changes it then.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

wire! {
    /// What an event reports: the state that the improvement entered, or progress.
    pub EventKind "event" {
        /// Queued, for the first time or again.
        Queued "queued",
        /// Claimed by a worker.
        Running "running",
        /// Progress was reported.
        Progress "progress",
        /// Completed.
        Completed "completed",
        /// Failed for good.
        Failed "failed",
        /// Cancelled.
        Cancelled "cancelled",
    }
}

impl EventKind {
    /// Whether the improvement has ended with it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// An improvement.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Improvement {
    /// Its id.
    pub improvement_id: String,
    /// The agent (service) to improve.
    pub service_name: String,
    /// The archive entry to start from.
    pub parent_entry_id: Option<String>,
    /// What to improve.
    pub problem_statement: String,
    /// How urgent.
    pub priority: Priority,
    /// Its state.
    pub status: Status,
    /// Running, but its lease has expired: the worker fell silent and another will get it.
    pub stale: bool,
    /// Percent done, by the worker's word.
    pub progress: i32,
    /// What the worker says about it.
    pub progress_message: Option<String>,
    /// Longest run of one attempt, in seconds.
    pub max_improvement_time: i32,
    /// Rules that the result must keep.
    #[schema(value_type = Option<std::collections::HashMap<String, Value>>)]
    pub constitutional_constraints: Option<Json>,
    /// Figures to start from.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub performance_metrics: Json,
    /// What the worker answered.
    #[schema(value_type = Option<std::collections::HashMap<String, Value>>)]
    pub results: Option<Json>,
    /// The entry that came of it.
    pub archive_entry_id: Option<String>,
    /// Why the last attempt failed.
    pub error_message: Option<String>,
    /// Who holds it, or held it last.
    pub worker: Option<String>,
    /// When the lease ends.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// The worker's last sign of life.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// Attempts so far.
    pub attempts: i32,
    /// Attempts before it is given up.
    pub max_attempts: i32,
    /// Not claimed before this (backoff).
    pub available_at: DateTime<Utc>,
    /// When the last attempt started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was completed, failed or cancelled.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was queued first.
    pub created_at: DateTime<Utc>,
}

/// An improvement as its new holder gets it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Claimed {
    /// Shown with heartbeat, progress, complete and fail.
    pub lease_token: Uuid,
    /// The improvement.
    #[serde(flatten)]
    pub improvement: Improvement,
}

/// Something that happened to an improvement.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Rising; the SSE id, so that a reader that reconnects misses nothing.
    pub event_id: i64,
    /// What happened.
    pub event: EventKind,
    /// The improvement's state then.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub data: Value,
    /// When.
    pub occurred_at: DateTime<Utc>,
}
