//! Archive entries: an agent variant, its scores and its place in the lineage.

mod list;
mod stats;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

pub use list::{Filter, Sort};
pub use stats::{Generation, Relative, Stats};

use super::json::Json;
use super::time;
use super::validation::{Check, Invalid};
use crate::closed::wire;

/// Most entries of one batch.
pub const MAX_BATCH: usize = 1000;
/// Most inspirations of one entry.
pub const MAX_INSPIRATIONS: usize = 100;

wire! {
    /// The state of an entry. The API deletes none, so that lineage stays whole.
    #[derive(Default, PartialOrd, Ord)]
    #[schema(as = EntryStatus)]
    pub Status "entry status" {
        /// Takes part in parent selection.
        #[default]
        Active "active",
        /// Did not compile or could not be evaluated; kept for the lineage.
        Failed "failed",
        /// Retired from parent selection; kept for the lineage.
        Archived "archived",
    }
}

wire! {
    /// How an entry helped to make another.
    #[derive(Default, PartialOrd, Ord)]
    pub InspirationKind "kind of inspiration" {
        /// A further parent.
        Parent "parent",
        /// Shown to the model, no more is known.
        #[default]
        Inspiration "inspiration",
        /// Drawn from the elite archive.
        Archive "archive",
        /// One of the k best.
        TopK "top_k",
    }
}

/// A further entry that helped to make one, beside its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Inspiration {
    /// The entry that helped; it must exist.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub archive_entry_id: String,
    /// How it helped.
    #[serde(default)]
    pub kind: InspirationKind,
}

/// An entry to be created. Scores are kept with four decimals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEntry {
    /// The caller's name for the entry, unique over all services; made by the service when absent. Give one to make a
    /// retry harmless.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub archive_entry_id: Option<String>,
    /// The entry it was made from; absent for a root. It must exist.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub parent_entry_id: Option<String>,
    /// Further entries that helped to make it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub inspirations: Vec<Inspiration>,
    /// Steps from the root, as the loop counts them; the parent's plus one (a root: 0) when absent.
    #[schema(minimum = 0)]
    pub generation_number: Option<i32>,
    /// The agent (service) that the variant belongs to.
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub service_name: String,
    /// What the variant was meant to improve, at most 1 MiB.
    #[schema(max_length = 1_048_576)]
    pub problem_statement: String,
    /// The patch, or the code where the loop keeps no patch.
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
    pub status: Status,
    /// When the loop made it; now when absent.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    pub created_at: Option<DateTime<Utc>>,
}

impl NewEntry {
    /// Checks every field; `within` is the pointer of the entry in its body (empty for the body itself).
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self, within: &str, now: DateTime<Utc>) -> Result<(), Invalid> {
        let mut check = Check::within(within);
        if let Some(id) = &self.archive_entry_id {
            check.id("archive_entry_id", id);
        }
        if let Some(parent) = &self.parent_entry_id {
            check.id("parent_entry_id", parent);
            check.that(self.archive_entry_id.as_ref() != Some(parent), "parent_entry_id", "must be another entry");
        }
        check.that(self.inspirations.len() <= MAX_INSPIRATIONS, "inspirations", "must have at most 100 items");
        for inspiration in &self.inspirations {
            check.id("inspirations", &inspiration.archive_entry_id);
            let other = self.archive_entry_id.as_ref() != Some(&inspiration.archive_entry_id);
            check.that(other, "inspirations", "must name other entries");
        }
        check.that(self.generation_number.is_none_or(|g| g >= 0), "generation_number", "must be 0 or more");
        check.name("service_name", &self.service_name);
        check.problem("problem_statement", &self.problem_statement);
        check.text("solution_patch", self.solution_patch.as_deref().unwrap_or_default());
        check.object("performance_metrics", &self.performance_metrics);
        check.score("accuracy_score", self.accuracy_score);
        check.score("constitutional_compliance_score", self.constitutional_compliance_score);
        if let Some(results) = &self.evaluation_results {
            check.object("evaluation_results", results);
        }
        check.that(
            self.created_at.is_none_or(|at| time::is_accepted(at) && at <= now),
            "created_at",
            "must lie in the past",
        );
        check.done()
    }

    /// SHA-256 of the request, equal for bodies that mean the same (key order and spaces do not count). It tells a
    /// retried create from another entry under the same id, also after the entry was changed.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        digest(self)
    }
}

/// SHA-256 of a value's JSON with sorted keys.
pub(in crate::domain) fn digest(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_value(value).unwrap_or_default();
    json.sort_all_objects();
    Sha256::digest(json.to_string()).to_vec()
}

/// Result of a create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CreatedEntry {
    /// The entry's id.
    pub archive_entry_id: String,
    /// `false`: an earlier identical request created it.
    pub created: bool,
}

/// Entries to create together, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEntries {
    /// Parents may be in the same batch, before their children.
    #[schema(min_items = 1, max_items = 1000)]
    pub entries: Vec<NewEntry>,
}

/// Changes to an entry; absent fields stay. Score changes keep the old scores in the entry's history.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryPatch {
    /// The new status.
    pub status: Option<Status>,
    /// Replaces the evaluation results.
    pub evaluation_results: Option<Map<String, Value>>,
    /// Replaces the measured figures.
    pub performance_metrics: Option<Map<String, Value>>,
    /// Accuracy, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    pub accuracy_score: Option<f64>,
    /// Constitutional compliance, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    pub constitutional_compliance_score: Option<f64>,
}

impl EntryPatch {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found; a patch that changes nothing is one.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.that(*self != Self::default(), "", "must change something");
        check.object("evaluation_results", self.evaluation_results.as_ref().unwrap_or(&Map::new()));
        check.object("performance_metrics", self.performance_metrics.as_ref().unwrap_or(&Map::new()));
        check.score("accuracy_score", self.accuracy_score.unwrap_or(0.0));
        check.score("constitutional_compliance_score", self.constitutional_compliance_score.unwrap_or(0.0));
        check.done()
    }
}

/// An entry without its bulk (patch, evaluation results): what lists and lineages answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// The entry's id.
    pub archive_entry_id: String,
    /// The entry it was made from.
    pub parent_entry_id: Option<String>,
    /// Steps from the root, as the loop counts them.
    pub generation_number: i32,
    /// The agent (service) that the variant belongs to.
    pub service_name: String,
    /// What the variant was meant to improve.
    pub problem_statement: String,
    /// All measured figures by name.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub performance_metrics: Json,
    /// Accuracy, 0..1, four decimals.
    pub accuracy_score: f64,
    /// Constitutional compliance, 0..1, four decimals.
    pub constitutional_compliance_score: f64,
    /// Its state.
    pub status: Status,
    /// Raised at each change; the ETag is made from it.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// A whole entry.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Entry {
    /// The row's own id.
    pub id: Uuid,
    /// All but the bulk.
    #[serde(flatten)]
    pub summary: Summary,
    /// The patch, or the code where the loop keeps no patch.
    pub solution_patch: Option<String>,
    /// Anything else of worth about the evaluation.
    #[schema(value_type = Option<std::collections::HashMap<String, Value>>)]
    pub evaluation_results: Option<Json>,
    /// Further entries that helped to make it.
    pub inspirations: Vec<Inspiration>,
    /// Who made it (an id of the local mirror of identities).
    pub created_by: Option<Uuid>,
}

impl Summary {
    /// Which state of the entry this is.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        Revision { version: self.version, micros: self.updated_at.timestamp_micros() }
    }
}

/// One state of an entry. The version alone does not tell: after a restore to a moment, and when an entry is forgotten and made
/// again, the same versions are given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// How often it was changed, from 1 on.
    pub version: i64,
    /// When, in microseconds since 1970.
    pub micros: i64,
}

impl Revision {
    /// Its entity tag (RFC 9110 section 8.8.3), strong.
    #[must_use]
    pub fn etag(self) -> String {
        format!("\"v{}-{:x}\"", self.version, self.micros)
    }

    /// What [`Revision::etag`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_etag(tag: &str) -> Option<Self> {
        let (version, micros) = tag.strip_prefix("\"v")?.strip_suffix('"')?.split_once('-')?;
        Some(Self { version: version.parse().ok()?, micros: i64::from_str_radix(micros, 16).ok()? })
    }
}
