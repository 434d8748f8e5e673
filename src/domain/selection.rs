//! Parent selection: which entry of the archive is improved next.
//!
//! Pure and reproducible: the same candidates (in any order), rule and seed give the same parents.

use std::collections::HashSet;

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What a rule knows of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The entry's id; also the tie-break.
    pub archive_entry_id: String,
    /// Accuracy, 0..=1.
    pub score: f64,
    /// How many of the other candidates were made from it.
    pub children: u32,
    /// Its place in feature space, for [`Rule::MapElites`]; as many figures for every candidate.
    pub features: Vec<f64>,
}

/// A rule.
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
    /// `ShinkaEvolve`'s `power_law`: rank by score, weight (rank+1)^-alpha.
    PowerLaw {
        /// Steepness; 0 is uniform.
        alpha: f64,
    },
    /// The best of `size` drawn uniformly with replacement (Goldberg and Deb 1991).
    Tournament {
        /// How many compete; at least 1.
        size: u32,
    },
    /// MAP-Elites (Mouret and Clune 2015, arXiv:1504.04909): feature space is cut into cells, the best of each occupied
    /// cell is its elite, and elites are drawn uniformly. Each feature's range is that of the candidates.
    MapElites {
        /// Cells along each feature; at least 1.
        bins: u32,
    },
    /// Every candidate alike: `random` of the Darwin Gödel Machine.
    Uniform,
    /// The `n` best, without chance. (Upstream's `best` sorts ascending and so takes the worst; ours does not.)
    Best,
}

/// Why nothing was selected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is nothing to choose from.
    #[error("no candidates to select from")]
    NoCandidates,
    /// A score is not finite.
    #[error("the score of {0:?} is not a finite number")]
    NotFinite(String),
    /// A rule's parameter is out of its range.
    #[error("{0}")]
    Parameter(&'static str),
}

/// Draws `n` parents, with replacement (but for [`Rule::Best`], which answers at most every candidate once).
///
/// # Errors
/// [`Error`], for an empty archive, a score that is no number, or a parameter out of range.
pub fn select(candidates: &[Candidate], rule: Rule, n: usize, seed: u64) -> Result<Vec<&Candidate>, Error> {
    // Best first, ties by id: the order of the input must not matter to the draw.
    let mut ranked: Vec<&Candidate> = candidates.iter().collect();
    if let Some(bad) = ranked.iter().find(|c| !c.score.is_finite()) {
        return Err(Error::NotFinite(bad.archive_entry_id.clone()));
    }
    if ranked.is_empty() {
        return Err(Error::NoCandidates);
    }
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.archive_entry_id.cmp(&b.archive_entry_id)));
    if rule == Rule::Best {
        ranked.truncate(n);
        return Ok(ranked);
    }
    if let Rule::MapElites { bins } = rule {
        ranked = elites(&ranked, bins)?;
    }
    let index = WeightedIndex::new(weights(&ranked, rule)?)
        .map_err(|_| Error::Parameter("the rule gives every candidate the weight 0"))?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok((0..n).filter_map(|_| ranked.get(draw(&index, rule, ranked.len(), &mut rng)).copied()).collect())
}

fn draw(index: &WeightedIndex<f64>, rule: Rule, count: usize, rng: &mut ChaCha8Rng) -> usize {
    match rule {
        // Ranked best first, so the winner of a tournament is the smallest index drawn.
        Rule::Tournament { size } => (0..size).map(|_| rng.random_range(0..count)).min().unwrap_or(0),
        _ => index.sample(rng),
    }
}

fn weights(ranked: &[&Candidate], rule: Rule) -> Result<Vec<f64>, Error> {
    let share = |c: &Candidate| 1.0 / (1.0 + f64::from(c.children));
    Ok(match rule {
        Rule::ScoreChildProp => ranked.iter().map(|c| sigmoid(10.0 * (c.score - 0.5)) * share(c)).collect(),
        Rule::ScoreProp => ranked.iter().map(|c| sigmoid(10.0 * (c.score - 0.5))).collect(),
        Rule::Weighted => {
            let middle = median(ranked.iter().map(|c| c.score));
            let spread = median(ranked.iter().map(|c| (c.score - middle).abs())).max(1e-6);
            ranked.iter().map(|c| sigmoid(10.0 * (c.score - middle) / spread) * share(c)).collect()
        }
        Rule::PowerLaw { alpha } if !alpha.is_finite() || alpha < 0.0 => {
            return Err(Error::Parameter("alpha must be a finite number, 0 or more"));
        }
        Rule::PowerLaw { alpha } => (1_u32..).take(ranked.len()).map(|rank| f64::from(rank).powf(-alpha)).collect(),
        Rule::Tournament { size: 0 } => return Err(Error::Parameter("a tournament needs a size of at least 1")),
        Rule::Tournament { .. } | Rule::MapElites { .. } | Rule::Uniform | Rule::Best => vec![1.0; ranked.len()],
    })
}

/// The best of each occupied cell; the candidates come ranked, so the first of a cell is its elite.
fn elites<'a>(ranked: &[&'a Candidate], bins: u32) -> Result<Vec<&'a Candidate>, Error> {
    if bins == 0 {
        return Err(Error::Parameter("map_elites needs at least 1 bin"));
    }
    let dimensions = ranked.first().map_or(0, |c| c.features.len());
    if dimensions == 0
        || ranked.iter().any(|c| c.features.len() != dimensions || !c.features.iter().all(|f| f.is_finite()))
    {
        return Err(Error::Parameter("map_elites needs the same finite features of every candidate"));
    }
    let ranges: Vec<(f64, f64)> = (0..dimensions)
        .map(|d| {
            let values = || ranked.iter().filter_map(|c| c.features.get(d).copied());
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
        })
        .collect();
    let cell = |c: &Candidate| -> Vec<u32> {
        let bin = |(value, (low, high)): (&f64, &(f64, f64))| {
            let place = if high > low { (value - low) / (high - low) } else { 0.0 };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=bins by construction")]
            let bin = (place * f64::from(bins)) as u32;
            // The greatest value belongs to the last cell.
            bin.min(bins - 1)
        };
        c.features.iter().zip(&ranges).map(bin).collect()
    };
    let mut occupied = HashSet::new();
    Ok(ranked.iter().copied().filter(|c| occupied.insert(cell(c))).collect())
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(of: &[(&str, f64, u32)]) -> Vec<Candidate> {
        of.iter()
            .map(|&(id, score, children)| Candidate {
                archive_entry_id: id.to_owned(),
                score,
                children,
                features: vec![score],
            })
            .collect()
    }

    fn five() -> Vec<Candidate> {
        archive(&[("a", 0.2, 0), ("b", 0.5, 3), ("c", 0.5, 0), ("d", 0.9, 7), ("e", 0.6, 1)])
    }

    fn ids(selected: &[&Candidate]) -> String {
        selected.iter().map(|c| c.archive_entry_id.as_str()).collect()
    }

    /// Pearson's chi-square of 100,000 draws against probabilities computed here by hand, in the order a..e. The
    /// critical value for 4 degrees of freedom at 0.001 is 18.467; the seed is fixed, so the outcome is too.
    fn chi_square(rule: Rule, probabilities: [f64; 5]) -> f64 {
        const DRAWS: u32 = 100_000;
        let candidates = five();
        let selected = select(&candidates, rule, DRAWS as usize, 42).unwrap();
        let total: f64 = probabilities.iter().sum();
        candidates
            .iter()
            .zip(probabilities)
            .map(|(candidate, p)| {
                let seen = u32::try_from(selected.iter().filter(|c| **c == candidate).count()).unwrap();
                let expected = f64::from(DRAWS) * p / total;
                (f64::from(seen) - expected).powi(2) / expected
            })
            .sum()
    }

    #[test]
    fn draws_follow_the_published_formulas() {
        // 1/(1+e^(-10(a-0.5))): 0.2 -> 1/(1+e^3), 0.5 -> 1/2, 0.9 -> 1/(1+e^-4), 0.6 -> 1/(1+e^-1).
        let s = [0.047_425_873, 0.5, 0.5, 0.982_013_79, 0.731_058_58];
        let cases = [
            (Rule::ScoreProp, s),
            (Rule::ScoreChildProp, [s[0], s[1] / 4.0, s[2], s[3] / 8.0, s[4] / 2.0]),
            (Rule::PowerLaw { alpha: 2.0 }, [1.0 / 25.0, 1.0 / 9.0, 1.0 / 16.0, 1.0, 1.0 / 4.0]),
            // The best of two of five: ((6-r)^2 - (5-r)^2) / 25 for rank r = 1..5, d e b c a.
            (Rule::Tournament { size: 2 }, [1.0, 5.0, 3.0, 9.0, 7.0]),
            (Rule::Uniform, [1.0; 5]),
        ];
        for (rule, probabilities) in cases {
            let statistic = chi_square(rule, probabilities);
            assert!(statistic < 18.467, "{rule:?}: chi-square {statistic}");
        }
        // The test can fail: draws by one rule against another's probabilities.
        assert!(chi_square(Rule::ScoreProp, [1.0; 5]) > 1000.0);
    }

    #[test]
    fn map_elites_draws_the_best_of_each_cell_uniformly() {
        // Feature = score, 0.2..0.9 in two bins: {0.2, 0.5, 0.5} below 0.55, {0.6, 0.9} above; their best are b and d.
        let rule = Rule::MapElites { bins: 2 };
        let statistic = chi_square(rule, [0.0, 1.0, 0.0, 1.0, 0.0].map(|p: f64| p.max(1e-12)));
        assert!(statistic < 18.467, "chi-square {statistic}");
        let candidates = five();
        let drawn = select(&candidates, rule, 1000, 1).unwrap();
        assert!(drawn.iter().all(|c| ["b", "d"].contains(&c.archive_entry_id.as_str())));
        let mut bare = five();
        bare[0].features.clear();
        assert!(matches!(select(&bare, rule, 1, 1), Err(Error::Parameter(_))));
    }

    #[test]
    fn weighted_uses_median_and_mad() {
        let candidates = five();
        let ranked: Vec<_> = candidates.iter().collect();
        let weights = weights(&ranked, Rule::Weighted).unwrap();
        // Median 0.5; deviations 0.3 0 0 0.4 0.1, their median 0.1; arguments -30, 0, 0, 40, 10.
        let expected = [9.357_622_968_839_299e-14, 0.125, 0.5, 0.125, 0.999_954_602_131_297_6 / 2.0];
        for (weight, expected) in weights.iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-9, "{weights:?}");
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter_and_the_seed_does() {
        let candidates = five();
        let mut reversed = candidates.clone();
        reversed.reverse();
        for rule in [Rule::ScoreChildProp, Rule::Weighted, Rule::Tournament { size: 3 }, Rule::Best] {
            let first = ids(&select(&candidates, rule, 40, 7).unwrap());
            assert_eq!(first, ids(&select(&reversed, rule, 40, 7).unwrap()));
            if rule != Rule::Best {
                assert_ne!(first, ids(&select(&candidates, rule, 40, 8).unwrap()));
            }
        }
    }

    #[test]
    fn best_is_the_best_with_ties_by_id() {
        assert_eq!(ids(&select(&five(), Rule::Best, 4, 0).unwrap()), "debc");
        assert_eq!(ids(&select(&five(), Rule::Best, 99, 0).unwrap()), "debca");
    }

    #[test]
    fn what_cannot_be_selected_from_is_said() {
        assert_eq!(select(&[], Rule::Uniform, 1, 0), Err(Error::NoCandidates));
        let broken = archive(&[("x", f64::NAN, 0)]);
        assert_eq!(select(&broken, Rule::Best, 1, 0), Err(Error::NotFinite("x".to_owned())));
        for rule in [Rule::Tournament { size: 0 }, Rule::PowerLaw { alpha: -1.0 }, Rule::PowerLaw { alpha: f64::NAN }] {
            assert!(matches!(select(&five(), rule, 1, 0), Err(Error::Parameter(_))), "{rule:?}");
        }
        let same = archive(&[("x", 0.4, 0), ("y", 0.4, 0)]);
        assert_eq!(select(&same, Rule::Weighted, 10, 1).unwrap().len(), 10);
    }
}
