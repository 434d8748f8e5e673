//! Parent selection over a million entries: `cargo bench --bench selection`.
//!
//! Two shapes: scores spread over every value there is, and scores of twenty values only. In both, children follow a
//! power law, as they do when those that have children are likelier to get more.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dgm_service::domain::selection::{Loader, Pool, Rule, Score};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const ENTRIES: usize = 1_000_000;

/// An id, the index of its parent, and its score.
type Entry = (String, Option<usize>, Score);

struct Archive {
    entries: Vec<Entry>,
    scores: u32,
    rng: ChaCha8Rng,
}

impl Archive {
    fn new(scores: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut entries: Vec<Entry> = Vec::with_capacity(ENTRIES);
        for index in 0..ENTRIES {
            let id = format!("{:08x}-{:027x}", rng.random::<u32>(), rng.random::<u128>() >> 20);
            // Half the time a sibling of an earlier entry, half the time its child.
            let parent = (index > 0).then(|| rng.random_range(0..index));
            let parent = parent.map(|at| if rng.random() { entries[at].1.unwrap_or(at) } else { at });
            entries.push((id, parent, score(scores, &mut rng)));
        }
        Self { entries, scores, rng }
    }

    fn load(&self) -> Pool {
        let mut loader = Loader::new();
        for (id, parent, score) in &self.entries {
            loader.put(id, parent.map(|at| self.entries[at].0.as_str()), *score);
        }
        loader.finish()
    }

    /// A random entry is scored anew.
    fn change(&mut self, pool: &mut Pool) {
        let (id, parent, _) = &self.entries[self.rng.random_range(0..ENTRIES)];
        pool.put(id, parent.map(|at| self.entries[at].0.as_str()), score(self.scores, &mut self.rng));
    }

    /// A random entry goes, and comes back: its parent changes place twice too.
    fn leave_and_return(&mut self, pool: &mut Pool) {
        let (id, parent, score) = &self.entries[self.rng.random_range(0..ENTRIES)];
        pool.remove(id);
        pool.put(id, parent.map(|at| self.entries[at].0.as_str()), *score);
    }
}

/// One of so many evenly spread scores.
#[allow(clippy::expect_used, reason = "a benchmark")]
fn score(of: u32, rng: &mut ChaCha8Rng) -> Score {
    Score::new(f64::from(rng.random_range(0..of)) / f64::from(of - 1)).expect("0..=1")
}

fn selection(criterion: &mut Criterion) {
    for (shape, scores) in [("all_scores", 10_001), ("twenty_scores", 20)] {
        let mut archive = Archive::new(scores);
        let started = Instant::now();
        let mut pool = archive.load();
        let (took, bytes) = (started.elapsed(), pool.bytes() / ENTRIES);
        eprintln!("{shape}: {} entries loaded in {took:.1?}, {bytes} bytes each", pool.len());
        let mut group = criterion.benchmark_group(shape);
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        group.bench_function("change", |bencher| bencher.iter(|| archive.change(&mut pool)));
        group.bench_function("leave_and_return", |bencher| bencher.iter(|| archive.leave_and_return(&mut pool)));
        for (name, rule) in [
            ("score_child_prop", Rule::ScoreChildProp),
            ("score_prop", Rule::ScoreProp),
            ("weighted", Rule::Weighted),
            ("power_law", Rule::PowerLaw { alpha: 1.0 }),
            ("tournament", Rule::Tournament { size: 3 }),
            ("uniform", Rule::Uniform),
            ("best", Rule::Best),
        ] {
            for n in [1, 10, 10_000] {
                let mut seed = 0;
                group.bench_function(format!("{name}/{n}"), |bencher| {
                    bencher.iter(|| {
                        seed += 1;
                        black_box(pool.select(rule, n, seed).map(|parents| parents.len()))
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, selection);
criterion_main!(benches);
