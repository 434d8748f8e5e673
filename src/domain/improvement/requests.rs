//! What callers ask of the queue.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Priority;
use crate::domain::archive::{Inspiration, NewEntry, Status as EntryStatus, digest};
use crate::domain::validation::{Check, Invalid};

/// Lease length unless the worker says otherwise, in seconds.
pub const DEFAULT_LEASE_SECONDS: u32 = 60;
/// Longest lease, in seconds; long work sends heartbeats.
const MAX_LEASE_SECONDS: u32 = 3600;
/// Most improvements of one claim.
const MAX_CLAIM: u32 = 100;

const fn default_time() -> i32 {
    1800
}

const fn default_attempts() -> i32 {
    3
}

/// An improvement to be queued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewImprovement {
    /// The caller's name for it; made by the service when absent. Give one to make a retry harmless.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub improvement_id: Option<String>,
    /// The agent (service) to improve.
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub service_name: String,
    /// The archive entry to start from; it must exist.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub parent_entry_id: Option<String>,
    /// What to improve, at most 1 MiB.
    #[schema(max_length = 1_048_576)]
    pub problem_statement: String,
    /// How urgent.
    #[serde(default)]
    pub priority: Priority,
    /// Longest run of one attempt, in seconds.
    #[serde(default = "default_time")]
    #[schema(minimum = 1, maximum = 604_800, default = 1800)]
    pub max_improvement_time: i32,
    /// Attempts before it is given up.
    #[serde(default = "default_attempts")]
    #[schema(minimum = 1, maximum = 100, default = 3)]
    pub max_attempts: i32,
    /// Rules that the result must keep.
    pub constitutional_constraints: Option<Map<String, Value>>,
    /// Figures to start from.
    #[serde(default)]
    pub performance_metrics: Map<String, Value>,
}

impl NewImprovement {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        if let Some(id) = &self.improvement_id {
            check.id("improvement_id", id);
        }
        check.name("service_name", &self.service_name);
        if let Some(parent) = &self.parent_entry_id {
            check.id("parent_entry_id", parent);
        }
        check.problem("problem_statement", &self.problem_statement);
        let a_week = 1..=604_800;
        check.that(a_week.contains(&self.max_improvement_time), "max_improvement_time", "must lie in 1..604800");
        check.that((1..=100).contains(&self.max_attempts), "max_attempts", "must lie in 1..100");
        check.object("constitutional_constraints", self.constitutional_constraints.as_ref().unwrap_or(&Map::new()));
        check.object("performance_metrics", &self.performance_metrics);
        check.done()
    }

    /// SHA-256 of the request; see [`NewEntry::digest`].
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        digest(self)
    }
}

/// A wish for work.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The worker's name.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub worker: String,
    /// Only these services; any when absent.
    #[schema(max_items = 100)]
    pub services: Option<Vec<String>>,
    /// At most so many.
    #[schema(minimum = 1, maximum = 100, default = 1)]
    pub max: Option<u32>,
    /// Lease length in seconds.
    #[schema(minimum = 1, maximum = 3600, default = 60)]
    pub lease_seconds: Option<u32>,
}

impl Claim {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.id("worker", &self.worker);
        let services = self.services.as_deref().unwrap_or_default();
        check.that(services.len() <= 100, "services", "must have at most 100 items");
        for service in services {
            check.name("services", service);
        }
        check.that((1..=MAX_CLAIM).contains(&self.max.unwrap_or(1)), "max", "must lie in 1..100");
        check_lease(&mut check, self.lease_seconds);
        check.done()
    }
}

fn check_lease(check: &mut Check, seconds: Option<u32>) {
    let range = 1..=MAX_LEASE_SECONDS;
    check.that(range.contains(&seconds.unwrap_or(DEFAULT_LEASE_SECONDS)), "lease_seconds", "must lie in 1..3600");
}

/// A sign of life; the lease starts anew.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// From the claim.
    pub lease_token: Uuid,
    /// Lease length from now, in seconds.
    #[schema(minimum = 1, maximum = 3600, default = 60)]
    pub lease_seconds: Option<u32>,
}

impl Heartbeat {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check_lease(&mut check, self.lease_seconds);
        check.done()
    }
}

/// How far the work is. It does not extend the lease; a heartbeat does.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// From the claim.
    pub lease_token: Uuid,
    /// Percent done.
    #[schema(minimum = 0, maximum = 100)]
    pub progress: i32,
    /// For people.
    #[schema(max_length = 1000)]
    pub message: Option<String>,
}

impl Progress {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.that((0..=100).contains(&self.progress), "progress", "must lie in 0..100");
        let message = self.message.as_deref().unwrap_or_default();
        check.text("message", message);
        check.that(message.chars().count() <= 1000, "message", "must have at most 1000 characters");
        check.done()
    }
}

/// The entry that came of an improvement. What is absent is taken from the improvement.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResultEntry {
    /// See [`NewEntry`].
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub archive_entry_id: Option<String>,
    /// The improvement's parent when absent.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub parent_entry_id: Option<String>,
    /// Further entries that helped to make it.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub inspirations: Vec<Inspiration>,
    /// The parent's plus one when absent.
    #[schema(minimum = 0)]
    pub generation_number: Option<i32>,
    /// The improvement's problem statement when absent; at most 1 MiB.
    #[schema(max_length = 1_048_576)]
    pub problem_statement: Option<String>,
    /// The patch.
    pub solution_patch: Option<String>,
    /// All measured figures by name.
    #[serde(default)]
    pub performance_metrics: Map<String, Value>,
    /// Accuracy, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    pub accuracy_score: f64,
    /// Constitutional compliance, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    pub constitutional_compliance_score: f64,
    /// Anything else of worth about the evaluation.
    pub evaluation_results: Option<Map<String, Value>>,
    /// `active` when absent.
    #[serde(default)]
    pub status: EntryStatus,
}

impl ResultEntry {
    /// The entry to create, with what the improvement knows filled in.
    #[must_use]
    pub fn into_entry(self, service: &str, problem: &str, parent: Option<&str>) -> NewEntry {
        NewEntry {
            archive_entry_id: self.archive_entry_id,
            parent_entry_id: self.parent_entry_id.or_else(|| parent.map(str::to_owned)),
            inspirations: self.inspirations,
            generation_number: self.generation_number,
            service_name: service.to_owned(),
            problem_statement: self.problem_statement.unwrap_or_else(|| problem.to_owned()),
            solution_patch: self.solution_patch,
            performance_metrics: self.performance_metrics,
            accuracy_score: self.accuracy_score,
            constitutional_compliance_score: self.constitutional_compliance_score,
            evaluation_results: self.evaluation_results,
            status: self.status,
            created_at: None,
        }
    }
}

/// The work is done.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// From the claim.
    pub lease_token: Uuid,
    /// Whatever the worker wants to keep.
    pub results: Option<Map<String, Value>>,
    /// The entry that came of it, written in the same transaction.
    pub archive_entry: Option<ResultEntry>,
}

/// The attempt failed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// From the claim.
    pub lease_token: Uuid,
    /// Why.
    #[schema(min_length = 1, max_length = 10_000)]
    pub error_message: String,
    /// `false`: do not try again, whatever attempts are left.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub retryable: bool,
}

const fn yes() -> bool {
    true
}

impl Failure {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.text("error_message", &self.error_message);
        let length = self.error_message.chars().count();
        check.that((1..=10_000).contains(&length), "error_message", "must have 1 to 10000 characters");
        check.done()
    }
}
