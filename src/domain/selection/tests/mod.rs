use super::*;

mod draws;
mod elites;
mod history;

const RULES: [Rule; 8] = [
    Rule::ScoreChildProp,
    Rule::ScoreProp,
    Rule::Weighted,
    Rule::PowerLaw { alpha: 0.7 },
    Rule::PowerLaw { alpha: 1.0 },
    Rule::Tournament { size: 3 },
    Rule::Uniform,
    Rule::Best,
];

fn score(accuracy: f64) -> Score {
    Score::new(accuracy).unwrap()
}

fn pool(of: &[(&str, Option<&str>, f64)]) -> Pool {
    let mut pool = Pool::new();
    for &(id, parent, accuracy) in of {
        pool.put(id, parent, score(accuracy));
    }
    pool
}

const FIVE: [(&str, Option<&str>, f64); 5] =
    [("a", Some("b"), 0.2), ("b", Some("d"), 0.5), ("c", Some("d"), 0.5), ("d", None, 0.9), ("e", Some("d"), 0.6)];

/// Children: one of b, three of d. By rank: d e c b a.
fn five() -> Pool {
    pool(&FIVE)
}

fn ids(pool: &Pool, rule: Rule, n: usize, seed: u64) -> String {
    pool.select(rule, n, seed).unwrap().iter().map(|parent| parent.archive_entry_id).collect()
}

#[test]
fn scores_are_four_decimals_in_0_to_1() {
    for (accuracy, expected) in [(0.0, 0.0), (-0.0, 0.0), (0.123_449, 0.1234), (0.123_45, 0.1235), (1.0, 1.0)] {
        assert!((score(accuracy).get() - expected).abs() < f64::EPSILON, "{accuracy}");
    }
    for accuracy in [-f64::EPSILON, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Score::new(accuracy), None);
    }
    // What the column holds comes back to the last bit.
    for ten_thousandths in 0..=10_000 {
        let accuracy: f64 = format!("{}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000).parse().unwrap();
        assert_eq!(score(accuracy).get().to_bits(), accuracy.to_bits());
    }
}

#[test]
fn the_seed_matters_and_nothing_else() {
    let pool = five();
    for rule in RULES {
        let first = ids(&pool, rule, 40, 7);
        assert_eq!(first, ids(&pool, rule, 40, 7));
        assert!(first.starts_with(&ids(&pool, rule, 3, 7)), "{rule:?}: fewer are the first of more");
        if rule != Rule::Best {
            assert_ne!(first, ids(&pool, rule, 40, 8), "{rule:?}");
        }
    }
}

#[test]
fn best_is_the_best_with_ties_by_children_then_id() {
    assert_eq!(ids(&five(), Rule::Best, 4, 0), "decb");
    assert_eq!(ids(&five(), Rule::Best, 99, 0), "decba");
    let ties = pool(&[("z", None, 0.5), ("y", Some("x"), 0.5), ("x", None, 0.5)]);
    assert_eq!(ids(&ties, Rule::Best, 3, 0), "yzx");
}

#[test]
fn what_cannot_be_selected_from_is_said() {
    for rule in RULES {
        assert_eq!(Pool::new().select(rule, 1, 0), Err(Error::NoCandidates));
        // An id that is only a parent is no candidate.
        let mut parent = pool(&[("x", Some("y"), 0.5)]);
        assert_eq!((parent.len(), ids(&parent, rule, 1, 0)), (1, "x".to_owned()));
        parent.remove("x");
        assert!(parent.is_empty());
        assert_eq!(parent.select(rule, 1, 0), Err(Error::NoCandidates));
        assert_eq!(five().select(rule, 0, 0), Ok(Vec::new()));
    }
    let alphas = [-1.0, -f64::MIN_POSITIVE, f64::NAN, f64::INFINITY].map(|alpha| Rule::PowerLaw { alpha });
    for rule in [Rule::Tournament { size: 0 }].into_iter().chain(alphas) {
        assert!(matches!(five().select(rule, 1, 0), Err(Error::Parameter(_))), "{rule:?}");
    }
}

#[test]
fn extreme_parameters_leave_the_best() {
    let steep = [50.0, 100.0, 1e300, f64::MAX].map(|alpha| Rule::PowerLaw { alpha });
    for rule in [Rule::Tournament { size: u32::MAX }].into_iter().chain(steep) {
        assert_eq!(ids(&five(), rule, 100, 1), "d".repeat(100), "{rule:?}");
    }
    let one = pool(&[("x", None, 0.0)]);
    let flat = [0.0, 1.0, 2.0, 100.0, f64::MAX].map(|alpha| Rule::PowerLaw { alpha });
    for rule in RULES.into_iter().chain(flat) {
        let n = if rule == Rule::Best { 1 } else { 100 };
        assert_eq!(ids(&one, rule, 100, 1), "x".repeat(n), "{rule:?}");
    }
}

#[test]
fn a_parent_is_told_with_its_score_and_children() {
    let pool = five();
    let best = pool.select(Rule::Best, 1, 0).unwrap();
    assert_eq!(best, [Parent { archive_entry_id: "d", score: 0.9, children: 3 }]);
}
