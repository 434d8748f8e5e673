//! The entries of a service, kept so that a draw costs little and a change of one entry too.

use std::cmp::Reverse;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::levels::{Key, Levels};
use super::ranking::Ranking;
use super::score::Score;
use super::{Error, Parent, Rule, draw};

/// Bytes of an id that are kept beside it while sorting, so that ids need seldom be fetched. Of a UUID that begins with
/// the time, this is the whole time.
const PREFIX: usize = 16;

/// The active entries of one service as parent selection sees them.
///
/// Entries that are not active are not held: they are neither candidates nor anyone's children. Of an id that is only
/// known as somebody's parent the number of children is held, so that entries may come in any order.
#[derive(Default)]
pub struct Pool {
    slots: Vec<Slot>,
    /// Slots to use again.
    free: Vec<u32>,
    /// Slots by id.
    table: HashTable<u32>,
    hasher: RandomState,
    /// The candidates' slots, best first.
    ranking: Ranking,
    levels: Levels,
    /// Heap use of the ids.
    id_bytes: usize,
    /// Whether ranking waits for [`Pool::loaded`].
    loading: bool,
}

/// A candidate, or the parent of one.
struct Slot {
    id: Box<str>,
    /// Slot of the parent; only of a candidate.
    parent: Option<u32>,
    /// How many candidates have this as parent.
    children: u32,
    /// Without meaning unless it is a candidate.
    score: Score,
    candidate: bool,
}

impl Slot {
    fn key(&self) -> Key {
        (Reverse(self.score), self.children)
    }
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty pool that ranks nothing before [`Pool::loaded`].
    pub(super) fn loading() -> Self {
        Self { loading: true, ..Self::default() }
    }

    /// Ranks everything.
    pub(super) fn loaded(&mut self) {
        let Self { slots, levels, .. } = self;
        let mut order: Vec<(Key, [u8; PREFIX], u32)> = (0..)
            .zip(slots.iter())
            .filter(|(_, entry)| entry.candidate)
            .map(|(slot, entry)| (entry.key(), prefix(&entry.id), slot))
            .collect();
        let id = |slot: u32| &*slots[slot as usize].id;
        order.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| id(a.2).cmp(id(b.2))));
        for &(key, ..) in &order {
            levels.add(key);
        }
        self.ranking = order.into_iter().map(|(.., slot)| slot).collect();
        self.loading = false;
    }

    /// Adds an active entry, or replaces what was known of it. The parent may come later, or never.
    pub fn put(&mut self, id: &str, parent: Option<&str>, score: Score) {
        let slot = self.intern(id, score);
        let parent = parent.map(|id| self.intern(id, score));
        let known = &self.slots[slot as usize];
        let (was_candidate, old_parent) = (known.candidate, known.parent);
        if !was_candidate || known.score != score {
            if was_candidate {
                self.unrank(slot);
            }
            let entry = &mut self.slots[slot as usize];
            (entry.score, entry.candidate) = (score, true);
            self.rank(slot);
        }
        if old_parent != parent {
            self.slots[slot as usize].parent = parent;
            if let Some(parent) = parent {
                self.adopt(parent, 1);
            }
            if let Some(parent) = old_parent {
                self.adopt(parent, -1);
            }
        }
    }

    /// Forgets an entry that is active no longer, or is gone.
    pub fn remove(&mut self, id: &str) {
        let Some(slot) = self.find(id) else { return };
        if !self.slots[slot as usize].candidate {
            return;
        }
        self.unrank(slot);
        let entry = &mut self.slots[slot as usize];
        entry.candidate = false;
        let parent = entry.parent.take();
        if let Some(parent) = parent {
            self.adopt(parent, -1);
        }
        // One that was its own parent is released by then.
        if parent != Some(slot) {
            self.release(slot);
        }
    }

    /// How many candidates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranking.len() as usize
    }

    /// Whether there is no candidate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rough heap use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<u32>()
            + self.table.allocation_size()
            + self.ranking.bytes()
            + self.levels.bytes()
            + self.id_bytes
    }

    /// Draws `n` parents, with replacement (but for [`Rule::Best`], which answers at most every candidate once).
    ///
    /// # Errors
    /// [`Error`], for a pool without candidates or a parameter out of range.
    pub fn select(&self, rule: Rule, n: usize, seed: u64) -> Result<Vec<Parent<'_>>, Error> {
        let ranks = draw::ranks(&self.levels, self.ranking.len(), rule, n, seed)?;
        let parent = |rank| {
            let entry = &self.slots[self.ranking.get(rank)? as usize];
            Some(Parent { archive_entry_id: &entry.id, score: entry.score.get(), children: entry.children })
        };
        Ok(ranks.into_iter().filter_map(parent).collect())
    }

    fn find(&self, id: &str) -> Option<u32> {
        self.table.find(self.hasher.hash_one(id), |&slot| *self.slots[slot as usize].id == *id).copied()
    }

    /// The id's slot, made when there is none. The score is but a filler until it is a candidate.
    fn intern(&mut self, id: &str, score: Score) -> u32 {
        let hash = self.hasher.hash_one(id);
        if let Some(&slot) = self.table.find(hash, |&slot| *self.slots[slot as usize].id == *id) {
            return slot;
        }
        let entry = Slot { id: id.into(), parent: None, children: 0, score, candidate: false };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = entry;
            slot
        } else {
            if self.slots.len() == self.slots.capacity() {
                // Doubling would leave up to half of the largest part unused.
                self.slots.reserve_exact(self.slots.len() / 8 + 4);
            }
            self.slots.push(entry);
            #[allow(clippy::cast_possible_truncation, reason = "2^32 slots are 128 GiB without their ids")]
            let slot = (self.slots.len() - 1) as u32;
            slot
        };
        self.id_bytes += heap(id.len());
        let Self { table, slots, hasher, .. } = self;
        table.insert_unique(hash, slot, |&slot| hasher.hash_one(&*slots[slot as usize].id));
        slot
    }

    /// Forgets an id that is neither a candidate nor the parent of one.
    fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if entry.candidate || entry.children > 0 {
            return;
        }
        let id = std::mem::take(&mut entry.id);
        self.id_bytes -= heap(id.len());
        if let Ok(found) = self.table.find_entry(self.hasher.hash_one(&*id), |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
    }

    fn adopt(&mut self, parent: u32, by: i32) {
        let candidate = self.slots[parent as usize].candidate;
        if candidate {
            self.unrank(parent);
        }
        let children = &mut self.slots[parent as usize].children;
        *children = children.saturating_add_signed(by);
        if candidate {
            self.rank(parent);
        } else {
            self.release(parent);
        }
    }

    fn rank(&mut self, slot: u32) {
        if self.loading {
            return;
        }
        let Self { slots, ranking, levels, .. } = self;
        let entry = &slots[slot as usize];
        levels.add(entry.key());
        ranking.insert(slot, before(slots, entry));
    }

    /// Undoes [`Pool::rank`]; to be called before score or children change, since it is by them that the place is found.
    fn unrank(&mut self, slot: u32) {
        if self.loading {
            return;
        }
        let Self { slots, ranking, levels, .. } = self;
        let entry = &slots[slot as usize];
        levels.remove(entry.key());
        ranking.remove(before(slots, entry));
    }

    /// How many slots are in use.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.table.len()
    }
}

/// Whether another slot ranks before this entry.
fn before<'a>(slots: &'a [Slot], entry: &'a Slot) -> impl Fn(u32) -> bool + 'a {
    let key = entry.key();
    move |other| {
        let other = &slots[other as usize];
        other.key().cmp(&key).then_with(|| other.id.cmp(&entry.id)).is_lt()
    }
}

/// The first bytes of an id; of equal ones the whole ids decide.
fn prefix(id: &str) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
    prefix
}

/// What an allocation of this length takes of a usual allocator.
fn heap(length: usize) -> usize {
    (length + 8).next_multiple_of(16).max(32)
}
