use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::domain::selection::ranking::Ranking;

/// The archive as a plain table: parent and score of the active entries by id.
type Plain = BTreeMap<String, (Option<String>, Score)>;

/// What the pool should hold, computed anew: the entries in the order of their rank, with their children.
fn expected(plain: &Plain) -> Vec<(&str, Score, u32)> {
    let mut children: BTreeMap<&str, u32> = BTreeMap::new();
    for parent in plain.values().filter_map(|(parent, _)| parent.as_deref()) {
        *children.entry(parent).or_default() += 1;
    }
    let children = |id: &str| children.get(id).copied().unwrap_or(0);
    let mut all: Vec<_> = plain.iter().map(|(id, (_, score))| (id.as_str(), *score, children(id))).collect();
    all.sort_by_key(|&(id, score, children)| (Reverse(score), children, id));
    all
}

fn held(pool: &Pool) -> Vec<(&str, Score, u32)> {
    if pool.is_empty() {
        return Vec::new();
    }
    let all = pool.select(Rule::Best, usize::MAX, 0).unwrap();
    all.iter().map(|p| (p.archive_entry_id, score(p.score), p.children)).collect()
}

/// A pool that never held anything else, filled in an order of its own.
fn fresh(plain: &Plain, rng: &mut ChaCha8Rng) -> (Pool, Pool) {
    let mut entries: Vec<_> = plain.iter().collect();
    entries.shuffle(rng);
    let (mut pool, mut loader) = (Pool::new(), Loader::new());
    for (id, (parent, score)) in &entries {
        pool.put(id, parent.as_deref(), *score);
    }
    entries.shuffle(rng);
    for (id, (parent, score)) in entries {
        loader.put(id, parent.as_deref(), *score);
    }
    (pool, loader.finish())
}

/// Short ids and such as differ late only.
fn name(entry: u32) -> String {
    if entry.is_multiple_of(2) { entry.to_string() } else { format!("an-entry-of-some-service-{entry}") }
}

fn change(pool: &mut Pool, plain: &mut Plain, ids: u32, scores: u32, rng: &mut ChaCha8Rng) {
    let id = name(rng.random_range(0..ids));
    if rng.random_ratio(1, 3) {
        pool.remove(&id);
        plain.remove(&id);
    } else {
        // May be its own parent, or one that is not there; cycles too.
        let parent = rng.random_ratio(3, 4).then(|| name(rng.random_range(0..=ids / 2)));
        let score = score(f64::from(rng.random_range(0..scores)) / f64::from(scores));
        pool.put(&id, parent.as_deref(), score);
        plain.insert(id, (parent, score));
    }
}

#[test]
fn thousands_of_changes_keep_the_books_and_leave_no_trace() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    // Few entries, looked at after every change; then so many that chunks are split and joined.
    for (ids, scores, changes, look) in [(12, 3, 1000, 1), (60, 8, 2000, 20), (3000, 4, 12_000, 3000)] {
        let (mut pool, mut plain) = (Pool::new(), Plain::new());
        for round in 1..=changes {
            change(&mut pool, &mut plain, ids, scores, &mut rng);
            if round % look > 0 {
                continue;
            }
            assert_eq!(pool.len(), plain.len());
            assert_eq!(held(&pool), expected(&plain));
            let (put, loaded) = fresh(&plain, &mut rng);
            for other in [&put, &loaded] {
                assert_eq!((other.slots(), held(other)), (pool.slots(), held(&pool)));
                for rule in RULES {
                    assert_eq!(other.select(rule, 20, round), pool.select(rule, 20, round), "{rule:?}");
                }
            }
        }
        for id in 0..ids {
            pool.remove(&name(id));
        }
        assert_eq!((pool.len(), pool.slots()), (0, 0));
    }
}

#[test]
fn children_count_before_their_parent_is_active_and_again_after() {
    let mut pool = pool(&[("child", Some("parent"), 0.1)]);
    assert_eq!((pool.len(), pool.slots()), (1, 2));
    pool.put("parent", None, score(0.9));
    assert_eq!(held(&pool)[0], ("parent", score(0.9), 1));
    pool.remove("parent");
    assert_eq!(held(&pool), [("child", score(0.1), 0)]);
    pool.put("parent", Some("parent"), score(0.8));
    assert_eq!(held(&pool)[0], ("parent", score(0.8), 2));
    pool.put("child", None, score(0.1));
    assert_eq!(held(&pool)[0], ("parent", score(0.8), 1));
    pool.remove("parent");
    pool.remove("parent");
    pool.remove("never seen");
    assert_eq!((pool.len(), pool.slots()), (1, 1));
}

#[test]
fn a_ranking_is_a_sorted_list() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (mut ranking, mut plain) = (Ranking::default(), Vec::new());
    let check = |ranking: &Ranking, plain: &[u32]| {
        assert_eq!(ranking.len() as usize, plain.len());
        let all: Vec<_> = (0..ranking.len()).filter_map(|rank| ranking.get(rank)).collect();
        assert_eq!(all, plain);
        assert_eq!(ranking.get(ranking.len()), None);
    };
    // Growing by appending, then changing at random with more insertions than removals and the other way round.
    for slot in 0..5000 {
        ranking.insert(slot, |other| other < slot);
        plain.push(slot);
    }
    check(&ranking, &plain);
    assert!(ranking.bytes() < 5000 * 6, "appended chunks are full: {}", ranking.bytes());
    for insertions in [0.7, 0.2] {
        for _ in 0..20_000 {
            let slot = rng.random_range(0..50_000);
            match plain.binary_search(&slot) {
                Err(at) if rng.random_bool(insertions) => {
                    ranking.insert(slot, |other| other < slot);
                    plain.insert(at, slot);
                }
                Ok(at) if !rng.random_bool(insertions) => {
                    ranking.remove(|other| other < slot);
                    plain.remove(at);
                }
                _ => {}
            }
        }
        check(&ranking, &plain);
    }
    // What thins out is joined, whatever the order.
    let (mut gone, stay): (Vec<_>, Vec<_>) = plain.iter().partition(|slot| *slot % 32 > 0);
    for order in ["rising", "falling", "shuffled"] {
        for &slot in &gone {
            ranking.remove(|other| other < slot);
        }
        check(&ranking, &stay);
        assert!(ranking.bytes() < stay.len() * 32, "{order}: {} bytes for {}", ranking.bytes(), stay.len());
        gone.shuffle(&mut rng);
        for &slot in &gone {
            ranking.insert(slot, |other| other < slot);
        }
        check(&ranking, &plain);
        if order == "rising" {
            gone.sort_unstable_by_key(|&slot| Reverse(slot));
        }
    }
    while let Some(slot) = plain.pop() {
        ranking.remove(|other| other < slot);
    }
    check(&ranking, &plain);
    ranking.remove(|_| false);
    ranking.insert(1, |other| other < 1);
    check(&ranking, &[1]);
    // All slots of a chunk may go while its neighbours are large.
    let mut ranking: Ranking = (0..3000).collect();
    let mut plain: Vec<u32> = (0..3000).collect();
    check(&ranking, &plain);
    for slot in plain.drain(700..1600) {
        ranking.remove(|other| other < slot);
    }
    check(&ranking, &plain);
    for slot in 700..1600 {
        ranking.insert(slot, |other| other < slot);
    }
    check(&ranking, &(0..3000).collect::<Vec<_>>());
}

#[test]
fn an_entry_takes_about_a_hundred_bytes() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut pool = Pool::new();
    let empty = pool.bytes();
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..20_000 {
        let id = format!("{:036x}", rng.random::<u128>());
        let parent = (!ids.is_empty()).then(|| ids[rng.random_range(0..ids.len())].clone());
        pool.put(&id, parent.as_deref(), score(f64::from(rng.random_range(0..100)) / 100.0));
        ids.push(id);
    }
    assert!(pool.bytes() < 20_000 * 110, "{}", pool.bytes() / 20_000);
    for id in &ids {
        pool.remove(id);
    }
    // What stays is room for as many again, without their ids.
    assert!(pool.bytes() < empty + 20_000 * 55, "{}", pool.bytes() / 20_000);
}
