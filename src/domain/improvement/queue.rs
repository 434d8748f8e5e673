//! Lists of the queue, and the result of a rescue.

use chrono::{DateTime, Utc};

use super::{Priority, Status};

/// Which improvements; an absent field admits all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this service.
    pub service: Option<String>,
    /// With this status.
    pub status: Option<Status>,
    /// With this priority.
    pub priority: Option<Priority>,
    /// Held (last) by this worker.
    pub worker: Option<String>,
    /// Only those that are stale, or only those that are not.
    pub stale: Option<bool>,
    /// Queued at this time or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Queued before this time.
    pub created_before: Option<DateTime<Utc>>,
}

/// How many leases were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Back in the queue.
    pub requeued: u64,
    /// Out of attempts.
    pub failed: u64,
}
