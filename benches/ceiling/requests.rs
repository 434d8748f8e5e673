//! What the rows send. Paths and bodies are those of docs/API.md; the file of a run holds one request a line.

use std::fmt::Write as _;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::archive::{Archive, patch};
use crate::bare;

/// Exponent of popularity, as in loadtest.
const SKEW: f64 = 0.99;
/// Entries among which the reads of the in-process cache are spread.
const POPULAR: usize = 100;
/// Requests that are made beforehand and sent in turn, where they differ.
const VARIANTS: usize = 1000;
/// What is measured.
const METRICS: [&str; 3] = ["latency_seconds", "tokens_total", "tests_passed_ratio"];
/// Samples of a batch.
pub(crate) const BATCH: usize = 100;
/// Becomes a number of the loader's; see wrk/fresh.lua.
const NUMBER: &str = "@@@@@@@@@@";

/// A request, its headers apart.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Request {
    /// A read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: String::new() }
    }

    /// A write, or a question with a body.
    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self { method: "POST", path: path.into(), body: body.to_string() }
    }
}

/// The file that the scripts of wrk read. JSON on one line has neither tabs nor line ends in it.
pub(crate) fn file(requests: &[Request]) -> String {
    requests.iter().fold(String::new(), |mut text, Request { method, path, body }| {
        let _ = writeln!(text, "{method}\t{path}\t{body}");
        text
    })
}

fn entry(id: &str) -> Request {
    Request::get(format!("/api/v1/archive/{id}"))
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

/// `GET` of the bare handler.
pub(crate) fn bare_get(_: &Archive, _: &str) -> Vec<Request> {
    vec![Request::get(bare::PATH)]
}

/// `POST` of a sample to the bare handler.
pub(crate) fn bare_post(archive: &Archive, run: &str) -> Vec<Request> {
    let samples = ingest(archive, run);
    samples.into_iter().map(|sample| Request { path: bare::PATH.to_owned(), ..sample }).collect()
}

/// One entry.
pub(crate) fn hot(archive: &Archive, _: &str) -> Vec<Request> {
    vec![entry(archive.hot())]
}

/// Few entries, some more popular than others.
pub(crate) fn popular(archive: &Archive, _: &str) -> Vec<Request> {
    let mut total = 0.0;
    let mut rank = 0.0_f64;
    let ids: Vec<_> = archive.ids.iter().take(POPULAR).collect();
    let bounds: Vec<f64> = (ids.iter())
        .map(|_| {
            rank += 1.0;
            total += rank.powf(-SKEW);
            total
        })
        .collect();
    let mut rng = rng();
    let mut draw = || bounds.partition_point(|bound| *bound < rng.random_range(0.0..total)).min(ids.len() - 1);
    (0..VARIANTS * 10).map(|_| entry(ids[draw()])).collect()
}

/// All entries alike.
pub(crate) fn uniform(archive: &Archive, _: &str) -> Vec<Request> {
    let mut rng = rng();
    let mut draw = || rng.random_range(0..archive.ids.len());
    (0..archive.ids.len()).map(|_| entry(&archive.ids[draw()])).collect()
}

fn sample(archive: &Archive, number: usize) -> Value {
    json!({"service_name": archive.services[number % archive.services.len()],
           "metric_type": METRICS[number % METRICS.len()],
           "metric_value": f64::from(u32::try_from(number).unwrap_or(0)) / 7.0,
           "archive_entry_id": archive.ids[number % archive.ids.len()]})
}

/// One sample a request.
pub(crate) fn ingest(archive: &Archive, _: &str) -> Vec<Request> {
    (0..VARIANTS).map(|number| Request::post("/api/v1/metrics", &sample(archive, number))).collect()
}

/// Many samples a request.
pub(crate) fn batches(archive: &Archive, _: &str) -> Vec<Request> {
    let batch = |first: usize| (first..first + BATCH).map(|number| sample(archive, number)).collect();
    (0..POPULAR).map(|number| Request::post("/api/v1/metrics", &batch(number * BATCH))).collect()
}

fn child(archive: &Archive, run: &str, number: usize, rng: &mut SmallRng) -> Value {
    json!({"archive_entry_id": format!("{run}-{NUMBER}"), "parent_entry_id": archive.parent(number),
           "problem_statement": "Make the agent solve more of the benchmark.", "solution_patch": patch(rng),
           "performance_metrics": {"latency_ms": rng.random_range(5.0..500.0), "tests_passed": number % 100},
           "accuracy_score": rng.random::<f64>(), "constitutional_compliance_score": rng.random_range(0.5..=1.0)})
}

/// New entries, each the child of one of many.
pub(crate) fn create(archive: &Archive, run: &str) -> Vec<Request> {
    let mut rng = rng();
    let mut body = |number| {
        let mut body = child(archive, run, number, &mut rng);
        body["service_name"] = archive.written.clone().into();
        body
    };
    (0..VARIANTS).map(|number| Request::post("/api/v1/archive", &body(number))).collect()
}

/// New improvements.
pub(crate) fn queue(archive: &Archive, run: &str) -> Vec<Request> {
    let body = |number| {
        json!({"improvement_id": format!("{run}-{NUMBER}"), "service_name": archive.written,
               "parent_entry_id": archive.parent(number),
               "problem_statement": "Make the agent solve more of the benchmark."})
    };
    (0..VARIANTS).map(|number| Request::post("/api/v1/improvements", &body(number))).collect()
}

/// The claim, then completions with an entry each; see wrk/claim.lua.
pub(crate) fn claim(archive: &Archive, run: &str) -> Vec<Request> {
    // Longer than the run, or the rescue of what the loader drops at its end would be measured, too.
    let claim = Request::post("/api/v1/improvements:claim", &json!({"worker": run, "lease_seconds": 3600}));
    let mut rng = rng();
    // Written out, since the script looks for the entry before the lease.
    let mut complete = |number| {
        let entry = child(archive, run, number, &mut rng);
        let body = format!(r#"{{"archive_entry":{entry},"lease_token":"00000000-0000-0000-0000-000000000000"}}"#);
        Request { method: "POST", path: "/api/v1/improvements/~/complete".to_owned(), body }
    };
    std::iter::once(claim).chain((0..VARIANTS).map(&mut complete)).collect()
}

/// A page of the best of a service.
pub(crate) fn list(archive: &Archive, _: &str) -> Vec<Request> {
    let page = |service| Request::get(format!("/api/v1/archive?service={service}&sort=accuracy&limit=50"));
    archive.services.iter().map(page).collect()
}

/// Ancestors of some entries.
pub(crate) fn lineage(archive: &Archive, _: &str) -> Vec<Request> {
    archive.ids.iter().take(VARIANTS).map(|id| Request::get(format!("/api/v1/archive/{id}/lineage"))).collect()
}

/// Parents for a service, by the default rule.
pub(crate) fn select(archive: &Archive, _: &str) -> Vec<Request> {
    let wish = |service| Request::post("/api/v1/archive:select-parents", &json!({"service_name": service, "n": 2}));
    archive.services.iter().map(wish).collect()
}
