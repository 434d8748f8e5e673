//! Improvements: jobs that workers claim under a lease.

mod queue;
mod requests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

pub use queue::{Filter, Rescued};
pub use requests::{
    Claim, Completion, DEFAULT_LEASE_SECONDS, Failure, Heartbeat, NewImprovement, Progress, ResultEntry,
};

/// How urgent; claimed in this order, then by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When nothing else is queued.
    Low,
    /// The usual.
    #[default]
    Medium,
    /// Before the usual.
    High,
    /// Before everything.
    Critical,
}

impl Priority {
    /// The column's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Where an improvement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// Held by a worker.
    Running,
    /// Done.
    Completed,
    /// Given up after its attempts.
    Failed,
    /// Called off.
    Cancelled,
}

impl Status {
    /// The column's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
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
    pub priority: String,
    /// Where it stands.
    pub status: String,
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
    pub constitutional_constraints: Option<Value>,
    /// Figures to start from.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub performance_metrics: Value,
    /// What the worker answered.
    #[schema(value_type = Option<std::collections::HashMap<String, Value>>)]
    pub results: Option<Value>,
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
    /// `queued`, `running`, `progress`, `completed`, `failed` or `cancelled`.
    pub event: String,
    /// The improvement's state then.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub data: Value,
    /// When.
    pub occurred_at: DateTime<Utc>,
}
