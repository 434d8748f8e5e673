//! A sorted list of slots that finds by rank and inserts anywhere at little cost.

/// Longest chunk; a power of two, so that a chunk that grew by doubling wastes nothing when it is full.
const CHUNK: usize = 1024;

/// Slots in the order of their rank, cut into chunks. How they are cut depends on history; ranks do not.
#[derive(Default)]
pub(super) struct Ranking {
    chunks: Vec<Vec<u32>>,
    /// For each chunk, how many slots there are up to its end.
    ends: Vec<u32>,
}

/// From slots that come in the order of their rank.
impl FromIterator<u32> for Ranking {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut ranking = Self::default();
        for (rank, slot) in (0..).zip(slots) {
            match ranking.chunks.last_mut() {
                // Room for some more, since a full chunk would be split by the first that comes.
                Some(chunk) if chunk.len() < CHUNK / 4 * 3 => chunk.push(slot),
                _ => {
                    let mut chunk = Vec::with_capacity(CHUNK);
                    chunk.push(slot);
                    ranking.chunks.push(chunk);
                    ranking.ends.push(rank);
                }
            }
            if let Some(end) = ranking.ends.last_mut() {
                *end = rank + 1;
            }
        }
        ranking
    }
}

impl Ranking {
    pub(super) fn len(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The slot of this rank; ranks count from 0.
    pub(super) fn get(&self, rank: u32) -> Option<u32> {
        let at = self.ends.partition_point(|&end| end <= rank);
        let chunk = self.chunks.get(at)?;
        let from_end = self.ends.get(at)? - rank;
        chunk.get(chunk.len() - from_end as usize).copied()
    }

    /// Puts `slot` behind all those that come `before` it.
    pub(super) fn insert(&mut self, slot: u32, before: impl Fn(u32) -> bool) {
        if self.chunks.is_empty() {
            self.chunks.push(Vec::new());
            self.ends.push(0);
        }
        let (mut at, mut index) = self.position(&before);
        // Past the end, the last chunk takes it.
        if at == self.chunks.len() {
            at -= 1;
            index = self.chunks[at].len();
        }
        if self.chunks[at].len() == CHUNK {
            (at, index) = self.split(at, index);
        }
        self.chunks[at].insert(index, slot);
        self.ends[at..].iter_mut().for_each(|end| *end += 1);
    }

    /// Takes out the first slot that does not come `before`.
    pub(super) fn remove(&mut self, before: impl Fn(u32) -> bool) {
        let (at, index) = self.position(before);
        if self.chunks.get(at).is_none_or(Vec::is_empty) {
            return;
        }
        self.chunks[at].remove(index);
        self.ends[at..].iter_mut().for_each(|end| *end -= 1);
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
    }

    /// Rough heap use.
    pub(super) fn bytes(&self) -> usize {
        let headers = self.chunks.capacity() * (size_of::<Vec<u32>>() + size_of::<u32>());
        headers + self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<u32>()).sum::<usize>()
    }

    /// Chunk and index of the first slot that does not come `before`.
    fn position(&self, before: impl Fn(u32) -> bool) -> (usize, usize) {
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|&last| before(last)));
        (at, self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|&slot| before(slot))))
    }

    /// Makes one chunk of two neighbours that are small enough, lest removals leave many chunks of few slots behind; an
    /// empty one stays only when it is alone.
    fn join(&mut self, left: usize) {
        let (Some(one), Some(other)) = (self.chunks.get(left), self.chunks.get(left + 1)) else { return };
        if one.len() + other.len() <= CHUNK / 2 || one.is_empty() || other.is_empty() {
            let right = self.chunks.remove(left + 1);
            self.chunks[left].extend(right);
            self.ends.remove(left);
        }
    }

    /// Makes two chunks of a full one; answers where `index` of the old one is now.
    fn split(&mut self, at: usize, index: usize) -> (usize, usize) {
        // Entries that come in order only ever append: then the old chunk can stay full.
        let cut = if index == CHUNK && at + 1 == self.chunks.len() { CHUNK } else { CHUNK / 2 };
        let tail = self.chunks[at].split_off(cut);
        if cut < CHUNK {
            self.chunks[at].shrink_to_fit();
        }
        let end = self.ends[at];
        #[allow(clippy::cast_possible_truncation, reason = "at most CHUNK")]
        let moved = tail.len() as u32;
        self.ends[at] -= moved;
        self.chunks.insert(at + 1, tail);
        self.ends.insert(at + 1, end);
        if index < cut { (at, index) } else { (at + 1, index - cut) }
    }
}
