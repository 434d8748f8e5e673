//! The archive that is read and written: made through the API, as loadtest makes its own.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::bare::Answer;
use crate::client::Caller;
use crate::requests::Request;
use crate::stack::{Setup, Stack};

/// Services among which the entries that are read are spread.
const SERVICES: usize = 8;
/// Entries of another service, whose children the rows make that write: the others stay as they are.
const PARENTS: usize = 1000;
/// Bytes of randomness in a patch, hexadecimal on the wire: entries of about 2.5 kB.
const PATCH_BYTES: usize = 1024;
/// Entries of one request.
const BATCH: usize = 250;
/// Requests at once while the caches are warmed.
const WARMERS: usize = 16;

/// What is there to be read.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Begins every name of the run.
    pub(crate) run: String,
    pub(crate) services: Vec<String>,
    /// Entries, shuffled, so that popularity says nothing of age or lineage.
    pub(crate) ids: Vec<String>,
    /// The service that is written to.
    pub(crate) written: String,
    /// The most popular entry, as the service answers it.
    pub(crate) answer: Answer,
    /// Its entity tag.
    pub(crate) etag: String,
}

impl Archive {
    /// Makes the entries.
    ///
    /// # Errors
    /// When the service refuses one.
    pub(crate) async fn seed(stack: &mut Stack, entries: u32) -> Result<Self> {
        let run = format!("ceiling-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let services: Vec<String> = (0..SERVICES).map(|n| format!("{run}-{n}")).collect();
        let written = format!("{run}-w");
        let mut rng = SmallRng::seed_from_u64(u64::from(entries));
        let read = tree(&services, "r", entries as usize, &mut rng);
        let parents = tree(std::slice::from_ref(&written), "p", PARENTS, &mut rng);
        let mut ids: Vec<String> =
            read.iter().filter_map(|e| e["archive_entry_id"].as_str().map(str::to_owned)).collect();
        ids.shuffle(&mut rng);

        let target = stack.serve(Setup::Whole, None).await?.context("dgm serve")?;
        for batch in read.chunks(BATCH).chain(parents.chunks(BATCH)) {
            let request = Request::post("/api/v1/archive:batch", &json!({"entries": batch}));
            target.caller.send(&request, 201).await?;
        }
        let hot = Request::get(format!("/api/v1/archive/{}", ids[0]));
        let response = target.caller.send(&hot, 200).await?;
        let headers: HashMap<String, String> = (response.headers().iter())
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .filter(|(name, _)| name != "date" && name != "content-length")
            .collect();
        let etag = headers.get("etag").context("an entry without an entity tag")?.clone();
        let answer = Answer { headers: headers.into_iter().collect(), body: response.text().await? };
        target.process.stop().await?;
        Ok(Self { run, services, ids, written, answer, etag })
    }

    /// The entry that is read when only one is.
    pub(crate) fn hot(&self) -> &str {
        &self.ids[0]
    }

    /// One of the entries whose children are made.
    pub(crate) fn parent(&self, number: usize) -> String {
        format!("{}-p-{}", self.run, number % PARENTS)
    }

    /// Reads every entry once, so that each is where a cold in-process cache finds it next.
    ///
    /// # Errors
    /// When one is not there.
    pub(crate) async fn warm(&self, caller: &Caller) -> Result<()> {
        let mut warmers = JoinSet::new();
        for part in self.ids.chunks(self.ids.len().div_ceil(WARMERS)) {
            let (caller, part) = (caller.clone(), part.to_vec());
            warmers.spawn(async move {
                for id in part {
                    caller.send(&Request::get(format!("/api/v1/archive/{id}")), 200).await?.bytes().await?;
                }
                Ok(())
            });
        }
        warmers.join_all().await.into_iter().collect()
    }
}

/// Entries in an order in which parents come first; the first of each service is its root.
fn tree(services: &[String], kind: &str, count: usize, rng: &mut SmallRng) -> Vec<Value> {
    let run = services[0].rsplit_once('-').map_or("", |(run, _)| run);
    let width = services.len();
    (0..count)
        .map(|n| {
            let parent = (n >= width).then(|| rng.random_range(0..n / width) * width + n % width);
            json!({"archive_entry_id": format!("{run}-{kind}-{n}"),
                   "parent_entry_id": parent.map(|n| format!("{run}-{kind}-{n}")),
                   "service_name": services[n % width],
                   "problem_statement": "Make the agent solve more of the benchmark.",
                   "solution_patch": patch(rng),
                   "performance_metrics": {"latency_ms": rng.random_range(5.0..500.0), "tests_passed": n % 100},
                   "accuracy_score": rng.random::<f64>(),
                   "constitutional_compliance_score": rng.random_range(0.5..=1.0)})
        })
        .collect()
}

/// A patch that does not compress to nothing.
pub(crate) fn patch(rng: &mut SmallRng) -> String {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; PATCH_BYTES];
    rng.fill_bytes(&mut bytes);
    let start = String::from("--- a/agent.py\n+++ b/agent.py\n@@ -1 +1 @@\n+");
    bytes.iter().fold(start, |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
