//! Imports of whole runs.

use std::collections::BTreeMap;

use serde::Serialize;

/// Result of an import.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// Entries of the run.
    pub entries: usize,
    /// New to the archive.
    pub new: usize,
    /// Entries whose parent the run no longer has; they became roots, unless an earlier import brought the parent.
    pub evicted_parents: usize,
    /// Of these, how many parents an earlier import had brought.
    pub relinked: usize,
    /// Longest path from a root to an entry.
    pub depth: u32,
    /// Number of entries, and best accuracy of the active ones, by generation.
    pub generations: BTreeMap<i32, (usize, Option<f64>)>,
}
