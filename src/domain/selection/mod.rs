//! Parent selection: which entry of the archive is improved next.
//!
//! Pure and reproducible: the same set of entries, rule and seed give the same parents, whatever order the entries came
//! in and however often they changed on the way. Entries rank by score, highest first, then by children, fewest first,
//! then by id.

mod draw;
mod elites;
mod levels;
mod load;
mod pool;
mod ranking;
mod score;
#[cfg(test)]
mod tests;
mod weight;

pub use elites::{Candidate, map_elites};
pub use load::Loader;
pub use pool::Pool;
pub use score::Score;

/// A rule that needs of an entry no more than a [`Pool`] holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Sigmoid of the score times 1/(1+children): the Darwin Gödel Machine's default, `score_child_prop` of its
    /// `DGM_outer.py` (arXiv:2505.22954).
    ScoreChildProp,
    /// The sigmoid alone: `score_prop` of the same program.
    ScoreProp,
    /// `ShinkaEvolve`'s `weighted`: sigmoid of the score's distance from the median in units of the median absolute
    /// deviation, times 1/(1+children), lambda 10.
    Weighted,
    /// `ShinkaEvolve`'s `power_law`: by rank, which counts from 0, with weight (rank+1)^-alpha.
    PowerLaw {
        /// Steepness; 0 is uniform.
        alpha: f64,
    },
    /// The best by rank of `size` drawn uniformly with replacement (Goldberg and Deb 1991).
    Tournament {
        /// How many compete; at least 1.
        size: u32,
    },
    /// Every entry alike: `random` of the Darwin Gödel Machine.
    Uniform,
    /// The `n` best by rank, without chance. (Upstream's `best` sorts ascending and so takes the worst; ours does not.)
    Best,
}

/// A parent that was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parent<'a> {
    /// The entry's id.
    pub archive_entry_id: &'a str,
    /// Its accuracy, 0..=1.
    pub score: f64,
    /// How many of the pool's entries were made from it.
    pub children: u32,
}

/// Why nothing was selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing to choose from.
    #[error("no candidates to select from")]
    NoCandidates,
    /// A rule's parameter is out of its range.
    #[error("{0}")]
    Parameter(&'static str),
}
