//! The state of this process as one document: a verdict with its reasons, golden signals, and each part with what is wrong
//! in it. It is computed from the series of the recorder, which are sampled only while a client requests it.

mod api;
mod limits;
mod series;
mod stores;
#[cfg(test)]
mod tests;
mod verdict;
mod work;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use verdict::Readiness;

use crate::telemetry::catalogue::jobs::JOB_RUNS;
use crate::telemetry::catalogue::process::{BUILD_INFO, STARTED};
use crate::telemetry::catalogue::{Described as _, LATENCY};
use series::History;

/// What figures are over.
const WINDOW: Duration = Duration::from_secs(30);
/// What a point of a line is over.
const POINT: Duration = Duration::from_secs(10);
/// Samples are no closer together, however many ask.
const APART: Duration = Duration::from_secs(1);

/// The whole document. A figure that is not known is null.
#[derive(Debug, Serialize)]
pub struct Document {
    #[serde(flatten)]
    verdict: verdict::Verdict,
    /// What rates and quantiles are over; null before the second sample.
    seconds: Option<f64>,
    /// The largest latency that is told apart: a quantile above it is given as it.
    longest: Option<f64>,
    /// Unix time at which the process started: another value is another process.
    started: Option<f64>,
    signals: api::Signals,
    routes: Vec<api::Answers>,
    statements: Vec<stores::Statement>,
    database: stores::Database,
    cache: stores::Cache,
    partitions: stores::Partitions,
    queue: work::Queue,
    jobs: Vec<work::Job>,
    build: BTreeMap<&'static str, String>,
}

/// How a figure is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    Ok,
    Warn,
    Bad,
}

/// A judgement in words.
#[derive(Debug, PartialEq, Serialize)]
struct Note {
    mark: Option<Mark>,
    text: String,
}

impl Note {
    fn new(mark: Option<Mark>, text: impl Into<String>) -> Self {
        Self { mark, text: text.into() }
    }

    /// Against a target; nothing is judged that is not known.
    fn target(fits: Option<bool>, under: impl Into<String>, over: impl Into<String>) -> Self {
        match fits {
            None => Self::new(None, format!("target: {}", under.into())),
            Some(true) => Self::new(Some(Mark::Ok), under),
            Some(false) => Self::new(Some(Mark::Bad), over),
        }
    }
}

/// Samples of the recorder, kept while a client requests the document.
#[derive(Debug)]
pub struct Status(Mutex<Watched>);

#[derive(Debug)]
struct Watched {
    history: History,
    /// Since when samples follow each other.
    since: Instant,
    /// When each job was last seen skipped, which means that another replica runs it.
    elsewhere: BTreeMap<String, Instant>,
}

impl Default for Status {
    fn default() -> Self {
        let watched = Watched { history: History::new(WINDOW), since: Instant::now(), elsewhere: BTreeMap::new() };
        Self(Mutex::new(watched))
    }
}

impl Status {
    /// Takes a sample if the latest is not fresh, so that all who ask see the same figures; none without a recorder.
    pub fn sample(&self, render: impl FnOnce() -> Option<String>) -> Option<()> {
        let watched = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if watched.history.latest().is_none_or(|latest| now - latest >= APART) {
            watched.add(&render()?, now);
        }
        Some(())
    }

    /// The document of the latest sample.
    pub fn document(&self, readiness: &Readiness, now: DateTime<Utc>) -> Document {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).document(readiness, now)
    }
}

impl Watched {
    fn add(&mut self, text: &str, now: Instant) {
        self.history.add(text, now);
        if self.history.len() == 1 {
            (self.since, self.elsewhere) = (now, BTreeMap::new());
        }
        let skipped = self.history.rises(JOB_RUNS.metric().name, Duration::ZERO, |labels| {
            (labels.get("outcome") == "skipped").then(|| labels.get("job_name").to_owned())
        });
        for (job, _) in skipped.unwrap_or_default().into_iter().filter(|(_, rise)| *rise > 0.0) {
            self.elsewhere.insert(job, now);
        }
    }

    fn document(&self, readiness: &Readiness, now: DateTime<Utc>) -> Document {
        let history = &self.history;
        let now = figure_seconds(now);
        let build = history.values(BUILD_INFO.metric().name).next().map(|(labels, _)| labels);
        let of = |name| Some((name, build?.get(name).to_owned()));
        let mut document = Document {
            verdict: verdict::Verdict::default(),
            seconds: history.seconds(WINDOW),
            longest: LATENCY.last().copied(),
            started: history.value(STARTED.metric().name),
            signals: api::Signals::of(history),
            routes: api::routes(history),
            statements: stores::statements(history),
            database: stores::Database::of(history),
            cache: stores::Cache::of(history),
            partitions: stores::Partitions::of(history, now),
            queue: work::Queue::of(history, now),
            jobs: work::jobs(self, now),
            build: ["version", "revision", "rustc"].into_iter().filter_map(of).collect(),
        };
        document.verdict = verdict::Verdict::of(&document, readiness);
        document
    }
}

/// Unix time in seconds.
fn figure_seconds(at: DateTime<Utc>) -> f64 {
    crate::telemetry::catalogue::figure(at.timestamp_millis()) / 1000.0
}

/// A share as a reader expects it.
fn percent(share: f64) -> String {
    format!("{} %", (share * 10_000.0).round() / 100.0)
}

/// A latency of less than a second as a reader expects it.
fn milliseconds(seconds: f64) -> String {
    format!("{} ms", (seconds * 1000.0).round())
}

/// A part of a whole, if there is a whole.
fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|whole| *whole > 0.0)?)
}
