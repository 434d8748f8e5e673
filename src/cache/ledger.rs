//! What this process knows of changes in the database: the judge of every copy.
//!
//! A copy in Redis may be old for many reasons: a slow fill that overtook a newer one, a failover that lost the last
//! writes, a snapshot that was restored. None of them matters, since a copy says up to which transaction it has seen
//! changes, and whoever reads it knows all changes from some transaction on. Nothing in Redis is trusted; no tombstone,
//! lease or deletion there is needed. docs/adr/0009 has the argument.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ttl::milliseconds;
use super::value::Stamp;

/// The bound: no read that starts at a time answers what was replaced longer before it than this. In the ordinary course
/// of things a change is seen within milliseconds; the bound holds in every fault. What is not confirmed for so long is
/// not served from a cache.
pub const BOUND: Duration = Duration::from_secs(5);
/// A confirmation counts for less than the bound, so that an answer on its way is within it.
const CONFIRMED_FOR: Duration = Duration::from_secs(4);
/// Changes kept in memory. With twice as many, the older ones are forgotten, and copies from before them are refused.
pub const MOST_CHANGES: usize = 100_000;

/// A change that makes older copies of an entry worthless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key of the copies, [`super::Key::text`].
    pub key: String,
    /// The least version that a copy must have.
    pub version: i64,
    /// The transaction that made it.
    pub transaction: i64,
}

/// What the database answered when it was asked for changes.
#[derive(Debug)]
pub struct News {
    /// When it was asked: everything that was committed before is in this answer or an earlier one.
    pub asked: Instant,
    /// The database whose versions and transactions these are. Another one than before: all copies are worthless.
    pub generation: i64,
    /// Changes by transactions below this one may be missing from all answers.
    pub complete_from: i64,
    /// What changed.
    pub changes: Vec<Change>,
}

/// A verdict on a copy in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No change since is known, and none can be unknown.
    Current,
    /// A newer version is known.
    Old,
    /// It was made before what this process knows of, or of another database.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Ledger {
    started: Instant,
    /// Milliseconds since `started` at which the newest answer was asked for, plus one; 0: there was none.
    confirmed: AtomicU64,
    generation: AtomicI64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    generation: i64,
    complete_from: i64,
    floors: HashMap<String, Floor>,
}

#[derive(Debug, Clone, Copy)]
struct Floor {
    version: i64,
    transaction: i64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            confirmed: AtomicU64::new(0),
            generation: AtomicI64::new(0),
            known: Mutex::default(),
        }
    }

    /// No code under this lock panics but by running out of memory, so poisoned knowledge is whole.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether copies may be served now.
    pub(super) fn is_confirmed(&self) -> bool {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        confirmed != 0 && self.since_start(Instant::now()).saturating_sub(confirmed - 1) < milliseconds(CONFIRMED_FOR)
    }

    /// How long ago the newest answer was asked for.
    pub(super) fn age(&self) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(confirmed)))
    }

    /// To be taken before a load whose result will bear it.
    pub(super) fn generation(&self) -> i64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn judge(&self, key: &str, version: i64, stamp: Stamp) -> Verdict {
        let known = self.known();
        if stamp.generation != known.generation || stamp.as_of < known.complete_from {
            return Verdict::Unknown;
        }
        match known.floors.get(key) {
            Some(floor) if version < floor.version => Verdict::Old,
            _ => Verdict::Current,
        }
    }

    /// Notes a change that this process made and is about to acknowledge; the database will tell of it only later.
    pub(super) fn wrote(&self, change: &Change) {
        self.known().raise(change);
    }

    /// Takes in what the database says; `true` when copies made before are worthless. Copies must be dropped before
    /// [`Ledger::confirm`].
    pub(super) fn learn(&self, news: &News) -> bool {
        let mut known = self.known();
        let other = known.generation != news.generation;
        if other {
            *known = Known { generation: news.generation, ..Known::default() };
            self.generation.store(news.generation, Ordering::Release);
        }
        let gap = news.complete_from > known.complete_from;
        known.complete_from = known.complete_from.max(news.complete_from);
        for change in &news.changes {
            known.raise(change);
        }
        known.prune();
        other || gap
    }

    /// From now on copies are known to be as new as when the database was asked.
    pub(super) fn confirm(&self, asked: Instant) {
        self.confirmed.fetch_max(self.since_start(asked) + 1, Ordering::AcqRel);
    }

    fn since_start(&self, at: Instant) -> u64 {
        milliseconds(at.saturating_duration_since(self.started))
    }
}

impl Known {
    fn raise(&mut self, Change { key, version, transaction }: &Change) {
        let told = Floor { version: *version, transaction: *transaction };
        match self.floors.get_mut(key) {
            Some(kept) if kept.version < told.version => *kept = told,
            Some(_) => {}
            None => drop(self.floors.insert(key.clone(), told)),
        }
    }

    /// Forgets the older half, and with it the right to judge copies from before.
    fn prune(&mut self) {
        if self.floors.len() <= 2 * MOST_CHANGES {
            return;
        }
        let mut transactions: Vec<i64> = self.floors.values().map(|floor| floor.transaction).collect();
        let (.., threshold, _) = transactions.select_nth_unstable(MOST_CHANGES);
        let threshold = *threshold;
        self.floors.retain(|_, floor| floor.transaction > threshold);
        self.complete_from = self.complete_from.max(threshold.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(changes: &[(&str, i64, i64)]) -> News {
        let change =
            |&(key, version, transaction): &(&str, i64, i64)| Change { key: key.to_owned(), version, transaction };
        News { asked: Instant::now(), generation: 1, complete_from: 10, changes: changes.iter().map(change).collect() }
    }

    fn stamp(generation: i64, as_of: i64) -> Stamp {
        Stamp { generation, as_of, ends: 0 }
    }

    #[test]
    fn a_copy_is_current_only_if_every_change_since_is_known_and_none_is_newer() {
        let ledger = Ledger::new();
        assert!(!ledger.is_confirmed());
        assert!(ledger.learn(&news(&[("a", 3, 20), ("a", 2, 19)])), "what was before is unknown");
        ledger.confirm(Instant::now());
        assert!(ledger.is_confirmed());
        let judged = |version, generation, as_of| ledger.judge("a", version, stamp(generation, as_of));
        assert_eq!(judged(3, 1, 15), Verdict::Current);
        assert_eq!(judged(2, 1, 15), Verdict::Old);
        assert_eq!(judged(3, 1, 9), Verdict::Unknown, "a change before 10 may be missing");
        assert_eq!(judged(9, 2, 15), Verdict::Unknown, "versions of another database");
        assert_eq!(ledger.judge("b", 1, stamp(1, 10)), Verdict::Current);
        assert!(!ledger.learn(&news(&[("b", 2, 21)])));
        assert_eq!(ledger.judge("b", 1, stamp(1, 10)), Verdict::Old);
    }

    #[test]
    fn own_writes_count_before_the_database_tells_of_them() {
        let ledger = Ledger::new();
        ledger.learn(&news(&[("a", 2, 20)]));
        let wrote = |version, transaction| ledger.wrote(&Change { key: "a".to_owned(), version, transaction });
        wrote(3, 25);
        ledger.learn(&news(&[("a", 2, 20)]));
        assert_eq!(ledger.judge("a", 2, stamp(1, 30)), Verdict::Old);
        assert_eq!(ledger.judge("a", 3, stamp(1, 30)), Verdict::Current);
        wrote(1, 24);
        assert_eq!(ledger.judge("a", 2, stamp(1, 30)), Verdict::Old, "a late word takes nothing back");
    }

    #[test]
    fn another_generation_and_a_gap_make_copies_worthless() {
        let ledger = Ledger::new();
        ledger.learn(&news(&[("a", 3, 20)]));
        let other = News { generation: 2, ..news(&[]) };
        assert!(ledger.learn(&other));
        assert_eq!(ledger.generation(), 2);
        assert_eq!(ledger.judge("a", 1, stamp(2, 10)), Verdict::Current, "floors of the other database are gone");
        assert!(ledger.learn(&News { generation: 2, complete_from: 50, ..news(&[]) }));
        assert_eq!(ledger.judge("a", 1, stamp(2, 49)), Verdict::Unknown);
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_not_judged() {
        let ledger = Ledger::new();
        let all: i64 = i64::try_from(2 * MOST_CHANGES).unwrap() + 1;
        let changes: Vec<(String, i64, i64)> = (0..all).map(|n| (n.to_string(), 2, 100 + n)).collect();
        let changes: Vec<(&str, i64, i64)> = changes.iter().map(|(key, v, t)| (key.as_str(), *v, *t)).collect();
        ledger.learn(&news(&changes));
        assert!(ledger.known().floors.len() <= MOST_CHANGES);
        assert_eq!(ledger.judge("0", 1, stamp(1, 50)), Verdict::Unknown);
        let newest = (all - 1).to_string();
        assert_eq!(ledger.judge(&newest, 1, stamp(1, 100 + all - 1)), Verdict::Old);
    }

    #[test]
    fn a_confirmation_wears_off() {
        let ledger = Ledger { started: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(), ..Ledger::new() };
        ledger.confirm(Instant::now().checked_sub(Duration::from_millis(3500)).unwrap());
        assert!(ledger.is_confirmed());
        let ledger = Ledger { started: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(), ..Ledger::new() };
        ledger.confirm(Instant::now().checked_sub(CONFIRMED_FOR).unwrap());
        assert!(!ledger.is_confirmed());
    }
}
