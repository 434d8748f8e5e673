use super::*;

fn five() -> Vec<Candidate> {
    [("a", 0.2, 0), ("b", 0.5, 3), ("c", 0.5, 0), ("d", 0.9, 7), ("e", 0.6, 1)]
        .into_iter()
        .map(|(id, accuracy, children)| Candidate {
            archive_entry_id: id.to_owned(),
            score: score(accuracy),
            children,
            features: vec![accuracy],
        })
        .collect()
}

fn drawn(candidates: &[Candidate], bins: u32, n: usize, seed: u64) -> String {
    map_elites(candidates, bins, n, seed).unwrap().iter().map(|c| c.archive_entry_id.as_str()).collect()
}

#[test]
fn the_best_of_each_cell_are_drawn_uniformly() {
    // Feature = score, 0.2..0.9 in two bins: {0.2, 0.5, 0.5} below 0.55, {0.6, 0.9} above; their best are b and d.
    let drawn = drawn(&five(), 2, 100_000, 42);
    let (b, d) = (drawn.matches('b').count(), drawn.matches('d').count());
    assert_eq!(b + d, 100_000);
    // Chi-square of two cells of 50,000 each; the critical value for 1 degree of freedom at 0.001 is 10.828.
    let statistic = 2.0 * (f64::from(u32::try_from(b).unwrap()) - 50_000.0).powi(2) / 50_000.0;
    assert!(statistic < 10.828, "chi-square {statistic}");
}

#[test]
fn the_order_of_the_candidates_does_not_matter_and_the_seed_does() {
    let candidates = five();
    let mut reversed = five();
    reversed.reverse();
    let first = drawn(&candidates, 3, 40, 7);
    assert_eq!(first, drawn(&reversed, 3, 40, 7));
    assert_ne!(first, drawn(&candidates, 3, 40, 8));
}

#[test]
fn cells_span_every_feature_and_one_value_is_one_cell() {
    let mut candidates = five();
    for (candidate, feature) in candidates.iter_mut().zip([0.0, 0.0, 9.0, 9.0, 9.0]) {
        candidate.features = vec![1.0, feature];
    }
    let mut elites: Vec<_> = drawn(&candidates, 1000, 100, 1).chars().collect();
    elites.sort_unstable();
    elites.dedup();
    assert_eq!(elites, ['b', 'd']);
}

#[test]
fn what_has_no_place_in_feature_space_is_refused() {
    assert_eq!(map_elites(&[], 2, 1, 1), Err(Error::NoCandidates));
    let faults: [fn(&mut Vec<Candidate>); 4] = [
        |all| all[0].features.clear(),
        |all| all.iter_mut().for_each(|c| c.features.clear()),
        |all| all[3].features[0] = f64::NAN,
        |all| all[3].features[0] = f64::INFINITY,
    ];
    for fault in faults {
        let mut candidates = five();
        fault(&mut candidates);
        assert!(matches!(map_elites(&candidates, 2, 1, 1), Err(Error::Parameter(_))));
    }
    assert!(matches!(map_elites(&five(), 0, 1, 1), Err(Error::Parameter(_))));
}
