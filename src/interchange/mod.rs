//! Runs of other evolutionary programs, read for import: `OpenEvolve` checkpoints, `ShinkaEvolve` databases and runs of
//! the Darwin Gödel Machine's reference implementation.
//!
//! [`read`] answers the programs as the peer has them, [`map`] turns them into entries of the archive. What cannot be
//! read is reported and the rest is kept: a run still going on, or cut short, is a normal input.

mod dgm;
pub mod exported_file;
pub mod jsonl;
mod lineage;
mod mapping;
mod nul;
mod openevolve;
pub mod python_json;
pub mod sample_file;
mod score;
mod shinka;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::{Map, Value};

use crate::closed::closed;
use crate::domain::archive::InspirationKind;
use crate::domain::time;
pub use mapping::{Entry, Mapped, Options, archive_entry_id, map};
pub use score::{MappingError, Scale, Score};

closed! {
    /// The program that wrote a run.
    #[derive(Hash)]
    pub Format "format" {
        /// `OpenEvolve` 0.2 and later: a folder of JSON files per checkpoint.
        OpenEvolve "openevolve",
        /// `ShinkaEvolve`: one `SQLite` file.
        Shinka "shinka",
        /// The reference implementation of the Darwin Gödel Machine (arXiv:2505.22954): a folder per agent.
        Dgm "dgm",
    }
}

/// A program as the peer has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The peer's id.
    pub id: String,
    /// The direct parent's id; the parent itself may be gone from the run.
    pub parent_id: Option<String>,
    /// Other programs shown to the model.
    pub inspirations: Vec<(String, InspirationKind)>,
    /// The peer's generation, from 0.
    pub generation: i32,
    /// What the program was to achieve.
    pub problem_statement: Option<String>,
    /// The change against the parent where the peer keeps it, else the whole code.
    pub patch: Option<String>,
    /// The peer's metrics unchanged, but for NaN and infinities, which are null.
    pub metrics: Map<String, Value>,
    /// Fitness by the peer's own rule: any number, NaN and infinities included; `None` when never evaluated.
    pub fitness: Option<f64>,
    /// Whether the peer holds the program to be correct (compiled); `None` when it does not say.
    pub correct: Option<bool>,
    /// The peer's time.
    pub created_at: Option<DateTime<Utc>>,
    /// Everything else of worth.
    pub extra: Map<String, Value>,
    /// Why the peer counts the program as failed.
    pub failure: Option<String>,
}

impl Program {
    fn new(id: String) -> Self {
        Self {
            id,
            parent_id: None,
            inspirations: Vec::new(),
            generation: 0,
            problem_statement: None,
            patch: None,
            metrics: Map::new(),
            fitness: None,
            correct: None,
            created_at: None,
            extra: Map::new(),
            failure: None,
        }
    }
}

/// What was read of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The run's name: that of its folder.
    pub name: String,
    /// The programs, in a stable order; two of them may claim one id.
    pub programs: Vec<Program>,
    /// What was not as expected.
    pub problems: Vec<Problem>,
}

/// Something in a run that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A file, `file:line`, or a program's id.
    pub place: String,
    /// What it is, and what was done about it.
    pub what: String,
    /// Whether anything is lost by it.
    pub severity: Severity,
}

impl Problem {
    fn note(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), severity: Severity::Note }
    }

    fn skipped(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), severity: Severity::Skipped }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// How grave a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Imported, though not to the letter.
    Note,
    /// Not imported.
    Skipped,
}

/// Why nothing could be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path holds no run of the format.
    #[error("{path} holds no {format} run: looked for {looked_for}", path = path.display())]
    NotARun {
        /// The path given.
        path: PathBuf,
        /// The format asked for.
        format: Format,
        /// The files that would have made it one.
        looked_for: &'static str,
    },
    /// A folder or file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Reads the run at `path`; it is not changed. (`SQLite` coordinates with a running `ShinkaEvolve` by the database's
/// `-shm` file.)
///
/// # Errors
/// [`Error`], only when nothing can be read at all.
pub fn read(format: Format, path: &Path) -> Result<Run, Error> {
    std::fs::metadata(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    match format {
        Format::OpenEvolve => openevolve::read(path),
        Format::Shinka => shinka::read(path),
        Format::Dgm => dgm::read(path),
    }
}

/// The paths in a folder, sorted.
fn listing(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let error = |source| Error::Io { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(error)?;
    let mut paths = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(error)?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Takes a text out of an object. Numbers become text (ids are numbers in some files); empty is none.
fn take_text(object: &mut Map<String, Value>, key: &str) -> Option<String> {
    match object.remove(key)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Puts what stands under `key`, unless it is null, into `extra`.
fn keep(extra: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|v| !v.is_null()) {
        extra.insert(key.to_owned(), value);
    }
}

/// A generation: a whole number that the column holds, else 0 with a problem.
fn generation(value: Option<&Value>, place: &str, problems: &mut Vec<Problem>) -> i32 {
    let Some(value) = value.filter(|v| !v.is_null()) else { return 0 };
    let fits = value.as_i64().and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0);
    fits.unwrap_or_else(|| {
        problems.push(Problem::note(
            place,
            format!("generation {value} is no whole number from 0 to 2147483647; taken as 0"),
        ));
        0
    })
}

/// A point in time from Unix seconds, to the microsecond.
fn unix_time(value: Option<&Value>) -> Option<DateTime<Utc>> {
    let since = Duration::try_from_secs_f64(value?.as_f64()?).ok()?;
    let time = DateTime::UNIX_EPOCH.checked_add_signed(chrono::Duration::from_std(since).ok()?)?;
    time::is_accepted(time).then(|| time.round_subsecs(6))
}

/// Notes for what a document held that JSON does not.
fn note_repairs(repairs: &[python_json::Repair], place: &str, under: &str, problems: &mut Vec<Problem>) {
    problems.extend(repairs.iter().map(|repair| {
        Problem::note(place, format!("{under}{}: {} stored as {}", repair.pointer, repair.found, repair.stored()))
    }));
}
