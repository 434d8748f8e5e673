//! Statistics of the archive, and relatives of an entry.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Status, Summary};

/// A generation in figures.
#[allow(clippy::struct_field_names, reason = "the wire's name is the column's")]
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Generation {
    /// Its number.
    pub generation_number: i32,
    /// Entries of every status.
    pub count: i64,
    /// Entries by status.
    pub by_status: BTreeMap<Status, i64>,
    /// Best accuracy of the active entries; `null` without any, as are the next two.
    pub best_accuracy: Option<f64>,
    /// Mean accuracy of the active entries.
    pub mean_accuracy: Option<f64>,
    /// Best compliance of the active entries.
    pub best_compliance: Option<f64>,
}

/// The archive in figures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Stats {
    /// The service, when one was asked for.
    pub service_name: Option<String>,
    /// Entries of every status.
    pub total: i64,
    /// Entries by status.
    pub by_status: BTreeMap<Status, i64>,
    /// The active entry with the best accuracy (the older one of equals).
    pub best_entry_id: Option<String>,
    /// By generation, rising.
    pub generations: Vec<Generation>,
}

/// An ancestor or a descendant.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Relative {
    /// Steps from the entry that was asked for (which is there itself, at 0).
    pub depth: i32,
    /// The entry.
    #[serde(flatten)]
    pub entry: Summary,
}
