//! What a run works on: made-up archive entries whose ids no other run shares.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Services among which a run spreads its entries, samples and improvements.
const SERVICES: usize = 8;
/// Exponent of popularity: that of YCSB's zipfian generator (Cooper et al., 2010).
const SKEW: f64 = 0.99;
/// Series of each service.
pub(crate) const METRIC_TYPES: [&str; 4] = ["latency_seconds", "accuracy_ratio", "memory_bytes", "tokens_per_second"];
/// Bytes of randomness in a patch, hexadecimal on the wire: entries of about 2.5 kB.
const PATCH_BYTES: usize = 1024;

/// A new archive entry as `POST /api/v1/archive:batch` takes it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) archive_entry_id: String,
    parent_entry_id: Option<String>,
    generation_number: u32,
    service_name: String,
    problem_statement: String,
    solution_patch: String,
    performance_metrics: Value,
    accuracy_score: f64,
    constitutional_compliance_score: f64,
}

impl Entry {
    fn known(&self) -> Known {
        Known {
            id: self.archive_entry_id.clone(),
            service: self.service_name.clone(),
            generation: self.generation_number,
        }
    }
}

/// What a run remembers of an entry.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) generation: u32,
}

/// A run: its id, its services and the popularity of its entries.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Tells this run's rows from those of every other.
    pub(crate) run: String,
    /// Service names.
    pub(crate) services: Vec<String>,
    /// Entries by popularity, most popular first. Shuffled, so that popularity says nothing of age or lineage.
    pub(crate) entries: Vec<Known>,
    popularity: Zipf<f64>,
    clients: AtomicUsize,
}

impl Plan {
    /// Plans a run over `entries` entries, of which `population` are read; gives the plan and the entries in an order in which
    /// parents come first.
    ///
    /// # Errors
    /// When `entries` or `population` is 0.
    pub(crate) fn new(entries: u32, population: u32) -> Result<(Self, Vec<Entry>)> {
        ensure!(entries > 0 && population > 0, "a run needs at least one archive entry");
        let population = population.min(entries);
        let run = Uuid::new_v4().simple().to_string();
        let services: Vec<String> = (0..SERVICES).map(|n| format!("loadtest-{run}-{n}")).collect();
        let mut rng = SmallRng::seed_from_u64(u64::from(entries));
        let mut tree: Vec<Entry> = Vec::new();
        for n in 0..entries as usize {
            // The first entry of a service is its root; parents are always of the same service.
            let parent = (n >= SERVICES)
                .then(|| rng.random_range(0..n / SERVICES) * SERVICES + n % SERVICES)
                .and_then(|at| tree.get(at));
            let entry = Entry {
                archive_entry_id: format!("lt-{run}-{n}"),
                parent_entry_id: parent.map(|p| p.archive_entry_id.clone()),
                generation_number: parent.map_or(0, |p| p.generation_number + 1),
                service_name: services[n % SERVICES].clone(),
                problem_statement: "Make the agent solve more of the benchmark.".to_owned(),
                solution_patch: patch(&mut rng),
                performance_metrics: json!({"latency_ms": rng.random_range(5.0..500.0), "tests_passed": n % 100}),
                accuracy_score: rng.random(),
                constitutional_compliance_score: rng.random_range(0.5..=1.0),
            };
            tree.push(entry);
        }
        let mut known: Vec<Known> = tree.iter().map(Entry::known).collect();
        known.shuffle(&mut rng);
        let popularity = Zipf::new(f64::from(population), SKEW).context("popularity of the entries")?;
        Ok((Self { run, services, entries: known, popularity, clients: AtomicUsize::new(0) }, tree))
    }

    /// The next client's number, from 0.
    pub(crate) fn enlist(&self) -> usize {
        self.clients.fetch_add(1, Ordering::Relaxed)
    }

    /// Draws an entry's rank, 0 the most popular.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank: whole, 1 to the entry count")]
    pub(crate) fn draw(&self, rng: &mut SmallRng) -> usize {
        (self.popularity.sample(rng) as usize - 1).min(self.entries.len() - 1)
    }
}

/// A patch that does not compress to nothing.
pub(crate) fn patch(rng: &mut SmallRng) -> String {
    let mut bytes = [0_u8; PATCH_BYTES];
    rng.fill_bytes(&mut bytes);
    let mut text = String::from("--- a/agent.py\n+++ b/agent.py\n@@ -1 +1 @@\n+");
    for byte in bytes {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The wire's form of a time: RFC 3339, UTC.
pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn parents_come_before_their_children_and_share_the_service() {
        let (plan, entries) = Plan::new(500, 500).unwrap();
        let mut seen: HashMap<&str, &Entry> = HashMap::new();
        for entry in &entries {
            match entry.parent_entry_id.as_deref().map(|id| seen[id]) {
                Some(parent) => {
                    assert_eq!(parent.service_name, entry.service_name);
                    assert_eq!(parent.generation_number + 1, entry.generation_number);
                }
                None => assert_eq!(entry.generation_number, 0),
            }
            seen.insert(&entry.archive_entry_id, entry);
        }
        assert_eq!(entries.iter().filter(|e| e.parent_entry_id.is_none()).count(), SERVICES);
        assert_eq!(plan.entries.iter().map(|entry| &entry.id).collect::<HashSet<_>>().len(), 500);
    }

    #[test]
    fn runs_share_no_id() {
        assert_ne!(Plan::new(1, 1).unwrap().0.entries[0].id, Plan::new(1, 1).unwrap().0.entries[0].id);
        assert!(Plan::new(0, 1).is_err());
    }

    #[test]
    fn reads_are_skewed_and_in_range() {
        let (plan, _) = Plan::new(200, 100).unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = [0_u32; 100];
        (0..100_000).for_each(|_| counts[plan.draw(&mut rng)] += 1);
        // Expected share of rank 1: 1 / sum(k^-0.99, k = 1..100) = 0.189.
        assert!((18_000..20_000).contains(&counts[0]), "{}", counts[0]);
        assert!(counts[0] > counts[9] && counts[9] > counts[99] && counts[99] > 0);
    }
}
