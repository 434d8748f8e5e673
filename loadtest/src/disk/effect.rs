//! What pauses did to requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pause;
use crate::figures::{Figures, figures};
use crate::profile::Role;
use crate::record::{Note, Record};
use crate::verdict::LATENCY_MS;

/// Requests of an operation, or of all together, and pauses of the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effect {
    /// `None`: all together.
    pub(crate) operation: Option<String>,
    /// Requests that overlap a pause, and all others.
    pub(crate) during: u64,
    pub(crate) outside: u64,
    /// Requests that took longer than p95 may, and those of them that overlap a pause.
    pub(crate) slow: u64,
    pub(crate) slow_during: u64,
    /// p95 of the requests that overlap no pause, corrected as that of all requests is.
    pub(crate) p95_without_ms: f64,
}

/// Compares the requests that overlap a pause with the others: all of them first, then each operation. Nothing without pauses.
pub(crate) fn effects(record: &Record, cadences: Option<&BTreeMap<Role, u64>>, pauses: &[Pause]) -> Vec<Effect> {
    if pauses.is_empty() {
        return Vec::new();
    }
    let mut rest = Record::default();
    let (mut all, mut operations) = (Counts::default(), BTreeMap::<&str, Counts>::new());
    for note in record.notes() {
        let during = overlaps(note, pauses);
        if !during {
            rest.count(note);
        }
        for counts in [&mut all, operations.entry(note.operation().name()).or_default()] {
            counts.add(note, during);
        }
    }
    let (figures_of_all, figures_of_each) = figures(&rest, cadences);
    let each = operations.into_iter().map(|(name, counts)| counts.effect(Some(name), figures_of_each.get(name)));
    std::iter::once(all.effect(None, Some(&figures_of_all))).chain(each).collect()
}

fn overlaps(note: &Note, pauses: &[Pause]) -> bool {
    let (from, to) = note.seconds();
    // They are in order and apart, so their ends are, too.
    let next = pauses.partition_point(|pause| pause.to <= from);
    pauses.get(next).is_some_and(|pause| pause.from < to)
}

#[derive(Default)]
struct Counts {
    during: u64,
    outside: u64,
    slow: u64,
    slow_during: u64,
}

impl Counts {
    fn add(&mut self, note: &Note, during: bool) {
        let slow = note.millis() >= LATENCY_MS;
        self.during += u64::from(during);
        self.outside += u64::from(!during);
        self.slow += u64::from(slow);
        self.slow_during += u64::from(slow && during);
    }

    fn effect(self, operation: Option<&str>, without: Option<&Figures>) -> Effect {
        let Self { during, outside, slow, slow_during } = self;
        let p95_without_ms = without.map_or(0.0, |figures| figures.corrected.p95_ms);
        Effect { operation: operation.map(str::to_owned), during, outside, slow, slow_during, p95_without_ms }
    }
}
