//! From a peer's programs to entries of the archive.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::score::{self, MappingError, Scale, Score};
use super::{Format, Problem, Program, Run, lineage, nul};
use crate::domain::archive::{InspirationKind, Status};

/// How a run is mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The service that the entries belong to.
    pub service: String,
    /// The number taken as the accuracy.
    pub score: Score,
    /// How it comes to lie in 0..=1.
    pub scale: Scale,
    /// The metric taken as the constitutional compliance (a name, or a path with dots). Without it: 0 for a failed
    /// program, else 1.
    pub compliance: Option<String>,
    /// The problem statement of every entry. Without it: the program's own, else one that names the run.
    pub problem_statement: Option<String>,
}

/// A row of `dgm_archive` to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// See [`archive_entry_id`].
    pub archive_entry_id: String,
    /// The parent, which stands earlier among the entries.
    pub parent_entry_id: Option<String>,
    /// Inspirations within the run, each once per kind; they may stand later among the entries.
    pub inspirations: Vec<(String, InspirationKind)>,
    /// The peer's generation.
    pub generation_number: i32,
    /// The service.
    pub service_name: String,
    /// What was to be achieved.
    pub problem_statement: String,
    /// The change, or the code.
    pub solution_patch: Option<String>,
    /// The peer's metrics.
    pub performance_metrics: Map<String, Value>,
    /// 0..=1, four decimals.
    pub accuracy_score: f64,
    /// 0..=1, four decimals.
    pub constitutional_compliance_score: f64,
    /// `source` (where the entry comes from), `failure` (why it is failed), and what else the peer keeps.
    pub evaluation_results: Map<String, Value>,
    /// Active or failed.
    pub status: Status,
    /// The peer's time.
    pub created_at: Option<DateTime<Utc>>,
}

/// A mapped run.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Parents before children.
    pub entries: Vec<Entry>,
    /// The reader's problems, and what the mapping had to change.
    pub problems: Vec<Problem>,
    /// Entries whose parent is no longer in the run.
    pub evicted_parents: usize,
    /// Ancestors of the deepest entry; 0 when there are roots alone.
    pub deepest: u32,
}

/// The entry's id of a peer's program: the same at every import, so that a later checkpoint adds what is new and a parent
/// that the peer has since evicted can still be found in the archive.
#[must_use]
pub fn archive_entry_id(service: &str, format: Format, peer_id: &str) -> String {
    let digest = Sha256::digest([service, format.as_str(), peer_id].join("\0"));
    digest.iter().take(16).fold(format!("{format}-"), |mut id, byte| {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Maps a run.
///
/// # Errors
/// [`MappingError`], when scores or compliance do not lie in 0..=1 or their field is not there.
pub fn map(format: Format, run: Run, options: &Options) -> Result<Mapped, MappingError> {
    let Run { name, programs, mut problems } = run;
    let (programs, index) = distinct(programs, &mut problems);
    let mut parents: Vec<Option<usize>> =
        programs.iter().map(|p| p.parent_id.as_ref().and_then(|parent| index.get(parent).copied())).collect();
    let evicted = |program: &Program| program.parent_id.as_ref().is_some_and(|parent| !index.contains_key(parent));
    let evicted_parents = programs.iter().filter(|program| evicted(program)).count();
    let breaks = break_cycles(&programs, &mut parents, &mut problems);
    let depths = lineage::depths(&parents);

    let scores = raw_scores(&programs, &options.score)?;
    let finite: Vec<_> = scores.iter().map(|score| score.filter(|x| x.is_finite())).collect();
    let scaled = score::scale(&finite, options.scale)?;
    let ids: Vec<_> = programs.iter().map(|p| archive_entry_id(&options.service, format, &p.id)).collect();
    let default_statement = format!("{format} run {name}");

    let mut entries = Vec::with_capacity(programs.len());
    for (at, program) in programs.into_iter().enumerate() {
        let mut source = source(format, &program, options, finite[at], scaled[at]);
        if evicted(&program) {
            source.insert("parent_evicted".to_owned(), Value::Bool(true));
        }
        if breaks.contains(&at) {
            source.insert("parent_cycle".to_owned(), Value::Bool(true));
        }
        let inspirations: BTreeSet<_> = program
            .inspirations
            .iter()
            .filter_map(|(id, kind)| Some((*index.get(id)?, *kind)))
            .filter(|(inspiration, _)| *inspiration != at)
            .collect();

        let unscored = scaled[at].is_none().then(|| unscored(scores[at], &options.score));
        if let Some(unscored) = &unscored {
            problems.push(Problem::note(&program.id, format!("imported as failed with the score 0: {unscored}")));
        }
        let failure = program.failure.clone().or(unscored);
        let compliance = compliance(&program, options.compliance.as_deref(), failure.is_some())?;

        let mut evaluation_results = Map::new();
        for (key, value) in program.extra {
            let taken = key == "source" || key == "failure";
            evaluation_results.insert(if taken { format!("peer_{key}") } else { key }, value);
        }
        evaluation_results.insert("source".to_owned(), Value::Object(source));
        if let Some(failure) = &failure {
            evaluation_results.insert("failure".to_owned(), json!(failure));
        }
        let statement = options.problem_statement.as_ref().or(program.problem_statement.as_ref());
        let mut entry = Entry {
            archive_entry_id: ids[at].clone(),
            parent_entry_id: parents[at].map(|parent| ids[parent].clone()),
            inspirations: inspirations
                .into_iter()
                .map(|(inspiration, kind)| (ids[inspiration].clone(), kind))
                .collect(),
            generation_number: program.generation.max(0),
            service_name: options.service.clone(),
            problem_statement: statement.unwrap_or(&default_statement).clone(),
            solution_patch: program.patch,
            performance_metrics: program.metrics,
            accuracy_score: score::round(scaled[at].unwrap_or(0.0)),
            constitutional_compliance_score: score::round(compliance),
            evaluation_results,
            status: if failure.is_some() { Status::Failed } else { Status::Active },
            created_at: program.created_at,
        };
        for field in nul::clear_entry(&mut entry) {
            problems.push(Problem::note(&program.id, format!("{field}: NUL stored as U+FFFD")));
        }
        entries.push((depths[at], entry));
    }
    // A level of the tree after the other, and within it the order of the run.
    entries.sort_by_key(|(depth, _)| *depth);
    let deepest = entries.last().map_or(0, |(depth, _)| *depth);
    let entries = entries.into_iter().map(|(_, entry)| entry).collect();
    Ok(Mapped { entries, problems, evicted_parents, deepest })
}

/// Where an entry comes from: the peer's ids (of those too that are no longer in its run) and its score, neither scaled
/// nor rounded.
fn source(
    format: Format,
    program: &Program,
    options: &Options,
    score: Option<f64>,
    scaled: Option<f64>,
) -> Map<String, Value> {
    let mut source = Map::new();
    let mut put = |key: &str, value: Value| source.insert(key.to_owned(), value);
    put("format", json!(format.as_str()));
    put("id", json!(program.id));
    put("score", json!(score));
    if options.scale != Scale::Identity {
        put("scale", json!(options.scale.to_string()));
        put("scaled_score", json!(scaled));
    }
    if let Score::Field(field) = &options.score {
        put("score_field", json!(field));
    }
    if let Some(parent) = &program.parent_id {
        put("parent_id", json!(parent));
    }
    if let Some(correct) = program.correct {
        put("correct", json!(correct));
    }
    if !program.inspirations.is_empty() {
        put(
            "inspirations",
            program.inspirations.iter().map(|(id, kind)| json!({"id": id, "kind": kind.as_str()})).collect(),
        );
    }
    source
}

/// The first program of every id, and where it is.
fn distinct(programs: Vec<Program>, problems: &mut Vec<Problem>) -> (Vec<Program>, HashMap<String, usize>) {
    let mut index = HashMap::with_capacity(programs.len());
    let mut kept = Vec::with_capacity(programs.len());
    for program in programs {
        match index.entry(program.id.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(kept.len());
                kept.push(program);
            }
            Slot::Occupied(_) => {
                problems.push(Problem::skipped(program.id, "a second program with this id; the first is taken"));
            }
        }
    }
    (kept, index)
}

/// Makes a root of one member of every cycle: the first by generation, time and id.
fn break_cycles(programs: &[Program], parents: &mut [Option<usize>], problems: &mut Vec<Problem>) -> BTreeSet<usize> {
    let mut broken = BTreeSet::new();
    for cycle in lineage::cycles(parents) {
        let first = cycle.iter().copied().min_by(|a, b| {
            let key = |at: usize| (programs[at].generation, programs[at].created_at, &programs[at].id);
            key(*a).cmp(&key(*b))
        });
        if let Some(at) = first {
            let what = match cycle.len() {
                1 => "its own parent; imported as a root".to_owned(),
                length => format!("its own ancestor, {length} parents up; imported as a root"),
            };
            problems.push(Problem::note(&programs[at].id, what));
            parents[at] = None;
            broken.insert(at);
        }
    }
    broken
}

fn raw_scores(programs: &[Program], score: &Score) -> Result<Vec<Option<f64>>, MappingError> {
    let Score::Field(path) = score else { return Ok(programs.iter().map(|p| p.fitness).collect()) };
    let scores: Vec<_> = programs.iter().map(|p| score::field(&p.metrics, path).and_then(Value::as_f64)).collect();
    if scores.iter().all(Option::is_none) && !programs.is_empty() {
        let known: BTreeSet<_> = programs.iter().flat_map(|p| score::numeric_fields(&p.metrics)).collect();
        let known: Vec<_> = known.into_iter().take(20).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(MappingError::NoSuchField { field: path.clone(), known });
    }
    Ok(scores)
}

fn unscored(score: Option<f64>, of: &Score) -> String {
    match (score, of) {
        (Some(number), _) => format!("the fitness is {number}"),
        (None, Score::Fitness) => "there is no fitness".to_owned(),
        (None, Score::Field(path)) => format!("there is no number at {path:?} among the metrics"),
    }
}

fn compliance(program: &Program, field: Option<&str>, failed: bool) -> Result<f64, MappingError> {
    let Some(path) = field else { return Ok(if failed { 0.0 } else { 1.0 }) };
    match score::field(&program.metrics, path) {
        None | Some(Value::Null) if failed => Ok(0.0),
        value => value.and_then(Value::as_f64).filter(|x| (0.0..=1.0).contains(x)).ok_or_else(|| {
            let found = value.map_or_else(|| "missing".to_owned(), Value::to_string);
            MappingError::Compliance { id: program.id.clone(), field: path.to_owned(), found }
        }),
    }
}
