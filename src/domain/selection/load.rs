//! Filling a pool with a whole archive.

use super::pool::Pool;
use super::score::Score;

/// Fills a pool with many entries: ranked by one sort at the end, which at a million takes a fraction of the time that
/// as many [`Pool::put`] do.
pub struct Loader(Pool);

impl Default for Loader {
    fn default() -> Self {
        Self(Pool::loading())
    }
}

impl Loader {
    /// Begins an empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an active entry, as [`Pool::put`] does.
    pub fn put(&mut self, id: &str, parent: Option<&str>, score: Score) {
        self.0.put(id, parent, score);
    }

    /// The pool.
    #[must_use]
    pub fn finish(self) -> Pool {
        let mut pool = self.0;
        pool.loaded();
        pool
    }
}
