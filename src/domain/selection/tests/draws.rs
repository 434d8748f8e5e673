use std::cmp::Reverse;
use std::collections::HashMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::domain::selection::draw::around_median;
use crate::domain::selection::levels::Levels;

const DRAWS: u32 = 100_000;

/// Pearson's chi-square of what was drawn against what was expected.
fn chi_square(seen: &[u32], probabilities: &[f64]) -> f64 {
    let total: f64 = probabilities.iter().sum();
    let term = |(&seen, p): (&u32, &f64)| {
        let expected = f64::from(DRAWS) * p / total;
        (f64::from(seen) - expected).powi(2) / expected
    };
    seen.iter().zip(probabilities).map(term).sum()
}

/// Of 100,000 draws from the five, against probabilities computed here by hand, in the order a..e. The critical value
/// for 4 degrees of freedom at 0.001 is 18.467; the seed is fixed, so the outcome is too.
fn of_five(rule: Rule, probabilities: [f64; 5]) -> f64 {
    let drawn = ids(&five(), rule, DRAWS as usize, 42);
    let seen = FIVE.map(|(id, ..)| u32::try_from(drawn.matches(id).count()).unwrap());
    chi_square(&seen, &probabilities)
}

#[test]
fn draws_follow_the_published_formulas() {
    // 1/(1+e^(-10(a-0.5))): 0.2 -> 1/(1+e^3), 0.5 -> 1/2, 0.9 -> 1/(1+e^-4), 0.6 -> 1/(1+e^-1).
    let s = [0.047_425_873, 0.5, 0.5, 0.982_013_79, 0.731_058_58];
    let cases = [
        (Rule::ScoreProp, s),
        (Rule::ScoreChildProp, [s[0], s[1] / 2.0, s[2], s[3] / 4.0, s[4]]),
        // Median 0.5; deviations 0.3 0 0 0.4 0.1, their median 0.1; arguments -30, 0, 0, 40, 10.
        (Rule::Weighted, [9.357_622_968_839_299e-14, 0.25, 0.5, 0.25, 0.999_954_602_131_297_6]),
        (Rule::PowerLaw { alpha: 0.0 }, [1.0; 5]),
        (Rule::PowerLaw { alpha: 1.0 }, [1.0 / 5.0, 1.0 / 4.0, 1.0 / 3.0, 1.0, 1.0 / 2.0]),
        (Rule::PowerLaw { alpha: 1.0 + f64::EPSILON }, [1.0 / 5.0, 1.0 / 4.0, 1.0 / 3.0, 1.0, 1.0 / 2.0]),
        (Rule::PowerLaw { alpha: 2.0 }, [1.0 / 25.0, 1.0 / 16.0, 1.0 / 9.0, 1.0, 1.0 / 4.0]),
        // The best of two of five: ((6-r)^2 - (5-r)^2) / 25 for rank r = 1..5, d e c b a.
        (Rule::Tournament { size: 2 }, [1.0, 3.0, 5.0, 9.0, 7.0]),
        (Rule::Tournament { size: 1 }, [1.0; 5]),
        (Rule::Uniform, [1.0; 5]),
    ];
    for (rule, probabilities) in cases {
        let statistic = of_five(rule, probabilities);
        assert!(statistic < 18.467, "{rule:?}: chi-square {statistic}");
    }
    // The test can fail: draws by one rule against another's probabilities.
    assert!(of_five(Rule::ScoreProp, [1.0; 5]) > 1000.0);
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// The weights of ranked entries, formula by formula.
fn weights(ranked: &[Parent<'_>], rule: Rule) -> Vec<f64> {
    let share = |p: &Parent<'_>| 1.0 / (1.0 + f64::from(p.children));
    let count = f64::from(u32::try_from(ranked.len()).unwrap());
    let ranks = (0..).map(f64::from).take(ranked.len());
    match rule {
        Rule::ScoreChildProp => ranked.iter().map(|p| sigmoid(10.0 * (p.score - 0.5)) * share(p)).collect(),
        Rule::ScoreProp => ranked.iter().map(|p| sigmoid(10.0 * (p.score - 0.5))).collect(),
        Rule::Weighted => {
            let middle = median(ranked.iter().map(|p| p.score).collect());
            let spread = median(ranked.iter().map(|p| (p.score - middle).abs()).collect()).max(1e-6);
            ranked.iter().map(|p| sigmoid(10.0 * (p.score - middle) / spread) * share(p)).collect()
        }
        Rule::PowerLaw { alpha } => ranks.map(|rank| (rank + 1.0).powf(-alpha)).collect(),
        Rule::Tournament { size } => {
            let beaten = |rank: f64| ((count - rank) / count).powi(i32::try_from(size).unwrap());
            ranks.map(|rank| beaten(rank) - beaten(rank + 1.0)).collect()
        }
        Rule::Uniform | Rule::Best => vec![1.0; ranked.len()],
    }
}

/// Thousands of entries, in up to 50 bins of about equal weight; the critical value for 49 degrees of freedom at 0.001
/// is 85.351.
fn of_many(pool: &Pool, drawn_by: Rule, weighed_by: Rule) -> f64 {
    let ranked = pool.select(Rule::Best, usize::MAX, 0).unwrap();
    let weights = weights(&ranked, weighed_by);
    let total: f64 = weights.iter().sum();
    let (mut bins, mut bin_of, mut sum) = (Vec::new(), HashMap::new(), 0.0);
    let mut last = -1.0;
    for (parent, weight) in ranked.iter().zip(&weights) {
        let bin = ((sum + weight / 2.0) / total * 50.0).floor();
        if bin > last {
            bins.push(0.0);
            last = bin;
        }
        bin_of.insert(parent.archive_entry_id, bins.len() - 1);
        *bins.last_mut().unwrap() += weight;
        sum += weight;
    }
    let mut seen = vec![0; bins.len()];
    for parent in pool.select(drawn_by, DRAWS as usize, 42).unwrap() {
        seen[bin_of[parent.archive_entry_id]] += 1;
    }
    chi_square(&seen, &bins)
}

#[test]
fn so_do_draws_from_thousands() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (entries, scores) in [(3000, 20), (2001, 10_001), (2000, 1)] {
        let mut pool = Pool::new();
        for entry in 0..entries {
            let parent = (entry > 0).then(|| rng.random_range(0..entry).min(rng.random_range(0..entry)).to_string());
            let accuracy = f64::from(rng.random_range(0..scores)) / 10_000.0 * f64::from(10_001 / scores);
            pool.put(&entry.to_string(), parent.as_deref(), score(accuracy.min(1.0)));
        }
        let other = [
            Rule::PowerLaw { alpha: 0.0 },
            Rule::PowerLaw { alpha: 0.999_999_9 },
            Rule::PowerLaw { alpha: 3.0 },
            Rule::Tournament { size: 1 },
            Rule::Tournament { size: 1000 },
        ];
        for rule in RULES.into_iter().chain(other).filter(|rule| *rule != Rule::Best) {
            let statistic = of_many(&pool, rule, rule);
            assert!(statistic < 85.351, "{entries} entries, {rule:?}: chi-square {statistic}");
        }
        assert!(of_many(&pool, Rule::ScoreChildProp, Rule::Uniform) > 1000.0);
        assert!(of_many(&pool, Rule::PowerLaw { alpha: 0.7 }, Rule::PowerLaw { alpha: 0.75 }) > 200.0);
    }
}

#[test]
fn the_weighted_rule_uses_median_and_mad() {
    let weigh = |scores: &[f64]| {
        let mut levels = Levels::default();
        for &accuracy in scores {
            levels.add((Reverse(score(accuracy)), 0));
        }
        let weigh = around_median(&levels, u32::try_from(scores.len()).unwrap());
        scores.iter().map(|&accuracy| weigh(score(accuracy))).collect::<Vec<_>>()
    };
    // Median 0.5, deviations 0.3 0 0 0.4 0.1, their median 0.1; then median 0.35, deviations 0.15 0.05 0.05 0.55, their
    // median 0.1; then all alike, with a deviation of 0.
    let cases = [
        (&[0.2, 0.5, 0.5, 0.9, 0.6][..], &[-30.0, 0.0, 0.0, 40.0, 10.0][..]),
        (&[0.2, 0.3, 0.4, 0.9][..], &[-15.0, -5.0, 5.0, 55.0][..]),
        (&[0.4, 0.4][..], &[0.0, 0.0][..]),
        // The smallest difference there is, over the floor of the deviation: 10 * 0.0001 / 0.000001.
        (&[0.4, 0.4, 0.4, 0.4001][..], &[0.0, 0.0, 0.0, 1000.0][..]),
    ];
    for (scores, arguments) in cases {
        for (weight, &argument) in weigh(scores).iter().zip(arguments) {
            let expected = sigmoid(argument);
            assert!((weight - expected).abs() <= 1e-12 * expected, "{scores:?}: {weight} for {expected}");
        }
    }
}
