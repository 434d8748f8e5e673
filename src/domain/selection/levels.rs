//! How many entries there are of each score and number of children, and the sums that weights need.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::score::Score;
use super::weight::steep;

/// What entries rank by before the id decides: score, highest first, then children, fewest first.
pub(super) type Key = (Reverse<Score>, u32);

/// The share 1 of an entry without children. Shares are whole numbers, since a sum of whole numbers does not depend on
/// the order in which they came and went. 2^48 keeps 1/(1+children) to nine digits at 100,000 children, and leaves room:
/// 2^32 entries times shares up to 2^48 times a score's weight up to 2^47 stays below 2^128.
pub(super) const WHOLE: u64 = 1 << 48;

/// 1/(1+children) as a share.
pub(super) fn share(children: u32) -> u64 {
    WHOLE / (1 + u64::from(children))
}

/// The entries of one score.
pub(super) struct Level {
    /// The Darwin Gödel Machine's weight of the score: a draw asks for that of every level, and to work it out anew would be most
    /// of what it costs.
    pub(super) steep: u64,
    /// How many.
    pub(super) entries: u32,
    /// The sum of their [`share`]s.
    pub(super) shares: u128,
    /// How many by number of children.
    pub(super) groups: BTreeMap<u32, u32>,
}

/// Every score that occurs, highest first.
#[derive(Default)]
pub(super) struct Levels {
    levels: BTreeMap<Reverse<Score>, Level>,
    groups: usize,
}

impl Levels {
    pub(super) fn add(&mut self, (score, children): Key) {
        let new = || Level { steep: steep(score.0), entries: 0, shares: 0, groups: BTreeMap::new() };
        let level = self.levels.entry(score).or_insert_with(new);
        level.entries += 1;
        level.shares += u128::from(share(children));
        let group = level.groups.entry(children).or_default();
        *group += 1;
        self.groups += usize::from(*group == 1);
    }

    /// Undoes one [`Levels::add`] of the same key.
    pub(super) fn remove(&mut self, (score, children): Key) {
        let Some(level) = self.levels.get_mut(&score) else { return };
        let Some(group) = level.groups.get_mut(&children) else { return };
        *group -= 1;
        if *group == 0 {
            level.groups.remove(&children);
            self.groups -= 1;
        }
        level.entries -= 1;
        level.shares -= u128::from(share(children));
        if level.entries == 0 {
            self.levels.remove(&score);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Highest score first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Score, &Level)> {
        self.levels.iter().map(|(score, level)| (score.0, level))
    }

    /// Rough heap use: nodes of a B-tree hold 6 to 11 items, and every level has at least one.
    pub(super) fn bytes(&self) -> usize {
        let level = size_of::<Level>() + size_of::<Score>();
        let node = 11 * size_of::<(u32, u32)>() + 16;
        self.levels.len() * (level * 3 / 2 + node) + self.groups * size_of::<(u32, u32)>() * 3 / 2
    }
}
