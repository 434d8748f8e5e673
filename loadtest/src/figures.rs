//! Counts and times of requests, with and without correction for coordinated omission.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::operation::Operation;
use crate::profile::Role;
use crate::record::{Cell, Record, times};

/// Quantiles of the distribution's plot.
const QUANTILES: [f64; 12] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// Counts and times of requests. Times are of those that succeeded, from sending to the end of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) succeeded: u64,
    /// Answered 503 with `Retry-After`.
    pub(crate) shed: u64,
    pub(crate) failed: u64,
    /// As they were recorded.
    pub(crate) raw: Latency,
    /// With the requests that a stall kept users from sending. Those of the open loop need none: the same.
    pub(crate) corrected: Latency,
}

/// Percentiles in milliseconds, off by at most 1 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Quantiles with their milliseconds.
    pub(crate) distribution: Vec<(f64, f64)>,
}

impl Latency {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |quantile| millis(times.value_at_quantile(quantile));
        Self {
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: millis(times.max()),
            distribution: QUANTILES.iter().map(|&quantile| (quantile, at(quantile))).collect(),
        }
    }
}

/// Milliseconds of microseconds.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 microseconds")]
pub(crate) fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The mean time between two requests of a user of each role, in microseconds: what its stalled users would have kept to.
/// `users` are those of the whole run, `elapsed` is how long it took.
pub(crate) fn cadences(record: &Record, roles: &[(Role, usize)], users: f64, elapsed: Duration) -> BTreeMap<Role, u64> {
    let cadence = |&(role, weight): &(Role, usize)| {
        let sent: u64 =
            (record.cells.iter().filter(|((whose, _), _)| *whose == role)).map(|(_, cell)| cell.sent()).sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let each = (users * weight as f64 / 100.0) * elapsed.as_secs_f64() * 1e6 / sent.max(1) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive microseconds")]
        (role, (each as u64).max(1))
    };
    roles.iter().map(cadence).collect()
}

/// The figures of all requests and of each operation. With cadences, times are corrected for coordinated omission: to each
/// that is longer than a user's mean time between requests those are added that would have been sent meanwhile, as
/// `HdrHistogram` has it.
pub(crate) fn figures(
    record: &Record,
    cadences: Option<&BTreeMap<Role, u64>>,
) -> (Figures, BTreeMap<&'static str, Figures>) {
    let mut all = Sums::default();
    let mut operations: BTreeMap<&'static str, Sums> = BTreeMap::new();
    for (&(role, operation), cell) in &record.cells {
        let cadence = cadences.and_then(|cadences| cadences.get(&role)).copied();
        all.add(cell, cadence);
        operations.entry(Operation::ALL[operation].name()).or_default().add(cell, cadence);
    }
    (all.figures(), operations.into_iter().map(|(name, sums)| (name, sums.figures())).collect())
}

struct Sums {
    seen: Cell,
    corrected: Histogram<u64>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { seen: Cell::default(), corrected: times() }
    }
}

impl Sums {
    fn add(&mut self, cell: &Cell, cadence: Option<u64>) {
        self.seen.add(cell);
        // It grows, so that nothing is out of range.
        let _ = match cadence {
            Some(cadence) => self.corrected.add(cell.times.clone_correct(cadence)),
            None => self.corrected.add(&cell.times),
        };
    }

    fn figures(&self) -> Figures {
        Figures {
            succeeded: self.seen.succeeded(),
            shed: self.seen.shed,
            failed: self.seen.failed,
            raw: Latency::of(&self.seen.times),
            corrected: Latency::of(&self.corrected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_those_who_could_not_ask() {
        let mut record = Record::default();
        let cell = record.cells.entry((Role::Author, Operation::ReadEntry as usize)).or_default();
        // A user asks a thousand times, each answered after 10 ms but one after a second: 11 s in all.
        cell.times.record_n(10_000, 999).unwrap();
        cell.times.record(1_000_000).unwrap();
        let cadences = cadences(&record, &[(Role::Author, 100)], 1.0, Duration::from_millis(10_990));
        assert_eq!(cadences[&Role::Author], 10_990);
        let (all, operations) = figures(&record, Some(&cadences));
        assert!((9.9..10.2).contains(&all.raw.p95_ms), "{all:?}");
        // Some ninety requests were not sent meanwhile: one in twelve of all.
        assert!(all.corrected.p95_ms > 300.0, "{all:?}");
        assert_eq!(operations[Operation::ReadEntry.name()], all);
        let (uncorrected, _) = figures(&record, None);
        assert_eq!(uncorrected.corrected, uncorrected.raw);
    }
}
