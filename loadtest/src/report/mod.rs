//! What came of a run: one document for programs, from which the tables and plots for people are made.

mod compute;
mod content;
mod html;
pub(crate) mod markdown;
mod markup;
mod plot;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

pub(crate) use self::compute::{bare, open, phase, rate_of};
#[cfg(test)]
pub(crate) use self::content::headline;
use crate::disk::Disk;
use crate::figures::Figures;
use crate::processes::Share;
use crate::profile::Name;
use crate::verdict::{Conclusion, Target};
use crate::watch::Look;

/// Of the document's form.
pub(crate) const VERSION: u32 = 2;

/// The result of a run. Times are in milliseconds, rates in events a second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`VERSION`] of whoever wrote it.
    pub(crate) version: u32,
    pub(crate) profile: Name,
    /// Id of the run, and end of the names of its services.
    pub(crate) run: String,
    /// RFC 3339.
    pub(crate) began: String,
    pub(crate) host: String,
    /// Machine, versions and settings, in the order of the table.
    pub(crate) facts: Vec<(String, String)>,
    /// Whether every target that is judged was met.
    pub(crate) passed: bool,
    /// The same, with the reason; a report of an earlier version has none.
    #[serde(default)]
    pub(crate) conclusion: Conclusion,
    pub(crate) verdict: Vec<Target>,
    /// That loaded at the same time, this being one.
    pub(crate) machines: u32,
    /// Most users at a time.
    pub(crate) users: usize,
    pub(crate) entries: usize,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// As long as it was to be; shorter is one that somebody interrupted.
    pub(crate) planned_seconds: u64,
    /// Successful requests a second while the number of users stayed.
    pub(crate) requests_per_second: f64,
    pub(crate) all: Figures,
    /// By operation.
    pub(crate) operations: Vec<OperationFigures>,
    /// The bare handler, where it was measured.
    pub(crate) bare: Option<Bare>,
    pub(crate) open_loop: Option<Open>,
    /// While the closed loop ran.
    #[serde(default)]
    pub(crate) disk: Disk,
    pub(crate) server: Server,
    pub(crate) processes: Vec<Share>,
    /// Where the number of users stayed: throughput and p95 of each such phase.
    pub(crate) phases: Vec<PhaseFigures>,
    pub(crate) timeline: Vec<SecondFigures>,
    pub(crate) looks: Vec<Look>,
    /// What went wrong how often.
    pub(crate) failures: Vec<FailureCount>,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OperationFigures {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// A lap of the bare handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lap {
    /// Those that succeeded.
    pub(crate) requests_per_second: f64,
    /// Processor time of the load test and the handler: a lap that does not use the machine up is no measure.
    pub(crate) processes: Vec<Share>,
}

/// What goose reaches against a handler that does nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bare {
    /// Of each lap: just before and just after the load.
    pub(crate) laps: Vec<Lap>,
    /// Their mean.
    pub(crate) requests_per_second: f64,
    /// The service's rate beside it.
    pub(crate) ratio: f64,
}

/// The open loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Requests a second that were to leave.
    pub(crate) rate: u32,
    /// Requests a second that succeeded.
    pub(crate) reached: f64,
    pub(crate) seconds: u64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) waits: Waits,
    /// While it ran.
    #[serde(default)]
    pub(crate) disk: Disk,
}

/// What the service waited for; `None` where it does not tell, or had nothing to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waits {
    /// p95 of an answer of Redis.
    pub(crate) cache_answer_p95_ms: Option<f64>,
    /// p95 of the wait for a database connection, of the pool where it is longest.
    pub(crate) pool_wait_p95_ms: Option<f64>,
}

/// What the service told of itself and of its database; `None` where it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// Most connections of callers that were open at a time.
    pub(crate) connections: Option<f64>,
    /// Lookups that a tier of the cache answered, of all.
    pub(crate) hit_ratio: Option<f64>,
    #[serde(flatten)]
    pub(crate) waits: Waits,
    /// Rows that were found by an index, of all rows that were read of tables that are not small.
    pub(crate) index_ratio: Option<f64>,
    /// Names of the tables that this is of, with their own ratio.
    pub(crate) index_tables: BTreeMap<String, f64>,
    pub(crate) commits_per_second: Option<f64>,
    pub(crate) rows_written_per_second: Option<f64>,
    /// By statement: p95.
    pub(crate) statement_p95_ms: BTreeMap<String, f64>,
}

/// A part of the run in which the number of users stayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseFigures {
    pub(crate) users: usize,
    /// From and to, in seconds of the run.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) requests_per_second: f64,
    pub(crate) p95_ms: f64,
}

/// A second of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SecondFigures {
    pub(crate) succeeded: u64,
    pub(crate) shed: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
}

/// A kind of failure of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureCount {
    pub(crate) operation: String,
    pub(crate) kind: String,
    pub(crate) count: u64,
}

impl Report {
    /// Reads a document that an earlier run wrote.
    ///
    /// # Errors
    /// When it is not one, or one of another version.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let report: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} is not a report", path.display()))?;
        let version = report.version;
        ensure!(version == VERSION, "{}: a report of version {version}, not {VERSION}", path.display());
        Ok(report)
    }

    /// Writes `report.json`, `report.md` and `report.html` into a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let write = || {
            fs::create_dir_all(folder)?;
            fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)?;
            fs::write(folder.join("report.md"), markdown::render(self))?;
            fs::write(folder.join("report.html"), html::render(self))
        };
        write().with_context(|| format!("writing into {}", folder.display()))
    }
}
