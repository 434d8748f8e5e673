//! MAP-Elites (Mouret and Clune 2015, arXiv:1504.04909).

use std::cmp::Ordering;
use std::collections::HashMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Error;
use super::score::Score;

/// What [`map_elites`] knows of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The entry's id; also the tie-break.
    pub archive_entry_id: String,
    /// Its accuracy.
    pub score: Score,
    /// How many of the other candidates were made from it.
    pub children: u32,
    /// Its place in feature space; as many figures for every candidate.
    pub features: Vec<f64>,
}

/// Draws `n` elites uniformly, with replacement. Feature space is cut into cells, `bins` along each feature, over the
/// range that the candidates have; the best of each occupied cell, with ties by id, is its elite.
///
/// # Errors
/// [`Error`], without candidates, without a bin, or without the same finite features of every candidate.
pub fn map_elites(candidates: &[Candidate], bins: u32, n: usize, seed: u64) -> Result<Vec<&Candidate>, Error> {
    let elites = elites(candidates, bins)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok((0..n).filter_map(|_| elites.get(rng.random_range(0..elites.len())).copied()).collect())
}

/// The elites, best first: the order of the candidates must not matter to the draw.
fn elites(candidates: &[Candidate], bins: u32) -> Result<Vec<&Candidate>, Error> {
    let dimensions = candidates.first().ok_or(Error::NoCandidates)?.features.len();
    if bins == 0 {
        return Err(Error::Parameter("map_elites needs at least 1 bin"));
    }
    let fit = |c: &Candidate| c.features.len() == dimensions && c.features.iter().all(|f| f.is_finite());
    if dimensions == 0 || !candidates.iter().all(fit) {
        return Err(Error::Parameter("map_elites needs the same finite features of every candidate"));
    }
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); dimensions];
    for candidate in candidates {
        for (&value, (low, high)) in candidate.features.iter().zip(&mut ranges) {
            (*low, *high) = (low.min(value), high.max(value));
        }
    }
    let mut best = HashMap::new();
    for candidate in candidates {
        let elite = best.entry(cell(candidate, &ranges, bins)).or_insert(candidate);
        if rank(candidate, elite).is_lt() {
            *elite = candidate;
        }
    }
    let mut elites: Vec<_> = best.into_values().collect();
    elites.sort_unstable_by(|a, b| rank(a, b));
    Ok(elites)
}

fn cell(candidate: &Candidate, ranges: &[(f64, f64)], bins: u32) -> Vec<u32> {
    let bin = |(value, (low, high)): (&f64, &(f64, f64))| {
        let place = if high > low { (value - low) / (high - low) } else { 0.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=bins by construction")]
        let bin = (place * f64::from(bins)) as u32;
        // The greatest value belongs to the last cell.
        bin.min(bins - 1)
    };
    candidate.features.iter().zip(ranges).map(bin).collect()
}

fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.cmp(&a.score).then_with(|| a.archive_entry_id.cmp(&b.archive_entry_id))
}
