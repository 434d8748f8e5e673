//! Counters that somebody else keeps, as ours: an absolute figure that is read from time to time becomes a counter that
//! only rises.

use std::collections::HashMap;

use super::catalogue::{Counter, Described, Labels};

/// The figures that were read last, by whoever told them (a server since its start, a node) and by series.
#[derive(Debug, Default)]
pub struct Theirs {
    last: HashMap<String, HashMap<(&'static str, usize), u64>>,
}

impl Theirs {
    /// Adds to a counter what the figure rose by since it was read last.
    pub fn count<L: Labels>(&mut self, teller: &str, counter: &Counter<L>, labels: L, figure: u64) {
        counter.add(labels, self.risen(teller, counter, labels, figure));
    }

    /// What the figure of a series rose by since it was read last. Nothing at its first reading, which may hold years; and
    /// nothing when it fell, for then it was reset at an unknown time between: it counts from here on.
    pub fn risen<L: Labels>(&mut self, teller: &str, counter: &impl Described, labels: L, figure: u64) -> u64 {
        if !self.last.contains_key(teller) {
            self.last.insert(teller.to_owned(), HashMap::new());
        }
        let series = (counter.metric().name, labels.index());
        let before = self.last.get_mut(teller).and_then(|figures| figures.insert(series, figure));
        before.map_or(0, |before| figure.saturating_sub(before))
    }

    /// Forgets tellers that are gone; a restarted server is another one.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.last.retain(|teller, _| is_there(teller));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::catalogue::server::{
        ArchiveOutcome, DB_SERVER_DEADLOCKS, DB_SERVER_TEMPORARY_BYTES, DB_WAL_SEGMENTS_ARCHIVED,
    };

    #[test]
    fn only_what_rose_since_the_last_reading_counts() {
        let mut theirs = Theirs::default();
        let mut risen = |figure| theirs.risen("a", &DB_SERVER_DEADLOCKS, (), figure);
        assert_eq!(risen(1_000_000), 0, "the first reading is where we begin");
        assert_eq!(risen(1_000_003), 3);
        assert_eq!(risen(1_000_003), 0);
        assert_eq!(risen(5), 0, "it was reset");
        assert_eq!(risen(7), 2);
    }

    #[test]
    fn tellers_and_series_are_kept_apart() {
        let mut theirs = Theirs::default();
        let series = |theirs: &mut Theirs, teller: &str, figure: u64| {
            [
                theirs.risen(teller, &DB_SERVER_DEADLOCKS, (), figure),
                theirs.risen(teller, &DB_SERVER_TEMPORARY_BYTES, (), 10 * figure),
                theirs.risen(teller, &DB_WAL_SEGMENTS_ARCHIVED, (ArchiveOutcome::Archived,), 100 * figure),
                theirs.risen(teller, &DB_WAL_SEGMENTS_ARCHIVED, (ArchiveOutcome::Failed,), 1000 * figure),
            ]
        };
        assert_eq!(series(&mut theirs, "a", 1), [0; 4]);
        assert_eq!(series(&mut theirs, "b", 100), [0; 4], "of another server nothing is known");
        assert_eq!(series(&mut theirs, "a", 3), [2, 20, 200, 2000]);
        assert_eq!(series(&mut theirs, "b", 101), [1, 10, 100, 1000]);
        theirs.retain(|teller| teller == "b");
        assert_eq!(series(&mut theirs, "a", 9), [0; 4], "it was forgotten");
        assert_eq!(series(&mut theirs, "b", 102), [1, 10, 100, 1000]);
    }
}
