//! Runs of the Darwin Gödel Machine's reference implementation (`DGM_outer.py`, `self_improve_step.py` of
//! jennyzzt/dgm; arXiv:2505.22954).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value};

use super::{
    Error, Format, Problem, Program, Run, file_name, generation, keep, listing, note_repairs, python_json, take_text,
};

const LOOKED_FOR: &str = "dgm_metadata.jsonl or <agent>/metadata.json in the folder of one run (output_dgm/<run>)";
const ROOT: &str = "initial";

pub(super) fn read(path: &Path) -> Result<Run, Error> {
    let not_a_run = || Error::NotARun { path: path.to_owned(), format: Format::Dgm, looked_for: LOOKED_FOR };
    if !path.is_dir() {
        return Err(not_a_run());
    }
    let mut problems = Vec::new();
    let records = path.join("dgm_metadata.jsonl");
    let history = History::read(&records, &mut problems);
    let mut programs = Vec::new();
    for folder in listing(path)?.into_iter().filter(|folder| folder.is_dir()) {
        programs.extend(agent(&folder, &history, &mut problems));
    }
    let missing_root =
        programs.iter().any(|p| p.parent_id.as_deref() == Some(ROOT)) && programs.iter().all(|p| p.id != ROOT);
    if missing_root {
        // Runs share the root that lies beside output_dgm.
        let beside = path.canonicalize().ok().and_then(|run| Some(run.parent()?.parent()?.join(ROOT)));
        programs.extend(beside.filter(|folder| folder.is_dir()).and_then(|f| agent(&f, &history, &mut problems)));
    }
    if programs.is_empty() && !records.is_file() {
        return Err(not_a_run());
    }
    generations(&mut programs, &history);
    let name = path.canonicalize().map_or_else(|_| file_name(path), |path| file_name(&path));
    Ok(Run { name, programs, problems })
}

/// What `dgm_metadata.jsonl` tells: one record per generation that has ended.
#[derive(Default)]
struct History {
    generations: HashMap<String, i32>,
    compiled: HashSet<String>,
    archive: Option<HashSet<String>>,
}

impl History {
    fn read(file: &Path, problems: &mut Vec<Problem>) -> Self {
        let mut history = Self::default();
        let place = file.display().to_string();
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) => {
                problems.push(Problem::note(place, format!("{error}: generations are counted from the parents")));
                return history;
            }
        };
        for (line, document) in python_json::concatenated(&String::from_utf8_lossy(&text)) {
            let place = format!("{place}:{line}");
            match document {
                Ok(document) if document.value.is_object() => history.add(&document.value, &place, problems),
                Ok(_) => problems.push(Problem::skipped(place, "no JSON object")),
                Err(why) => problems.push(Problem::skipped(place, why)),
            }
        }
        history
    }

    fn add(&mut self, record: &Value, place: &str, problems: &mut Vec<Problem>) {
        let ids = |key: &str| record[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let number = generation(record.get("generation"), place, problems);
        for id in ids("children") {
            self.generations.entry(id).or_insert(number);
        }
        self.compiled.extend(ids("children_compiled"));
        if record["archive"].is_array() {
            self.archive = Some(ids("archive").collect());
        }
    }

    /// Whether the run took a child for compiled; unknown while its generation has not ended.
    fn compiled(&self, id: &str) -> Option<bool> {
        self.generations.contains_key(id).then(|| self.compiled.contains(id))
    }
}

/// The agent in a folder; none when the folder is something else, with a problem when it should have been one.
fn agent(folder: &Path, history: &History, problems: &mut Vec<Problem>) -> Option<Program> {
    let id = file_name(folder);
    let file = folder.join("metadata.json");
    let place = file.display().to_string();
    let created_at = time_of(&id);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                problems.push(Problem::skipped(place, error.to_string()));
            } else if created_at.is_some() || history.generations.contains_key(&id) || id == ROOT {
                problems.push(Problem::skipped(place, "missing: the attempt still runs or was cut short"));
            }
            return None;
        }
    };
    let document = match python_json::parse(&text) {
        Ok(document) => document,
        Err(error) => {
            problems.push(Problem::skipped(place, error.to_string()));
            return None;
        }
    };
    let known = ["run_id", "parent_commit", "overall_performance"];
    let Value::Object(object) = document.value else {
        problems.push(Problem::skipped(place, "no JSON object"));
        return None;
    };
    if !known.iter().any(|key| object.contains_key(*key)) {
        problems.push(Problem::skipped(place, format!("not an agent's: none of {}", known.join(", "))));
        return None;
    }
    note_repairs(&document.repairs, &id, "", problems);
    let mut program = Program { created_at, ..Program::new(id) };
    program.patch = patch(&folder.join("model_patch.diff"), problems);
    fill(&mut program, object, history, problems);
    // A score that is null because Python wrote NaN is not a score that was never given.
    let lost = document.repairs.iter().find(|r| r.pointer == "/overall_performance/accuracy_score");
    program.fitness = program.fitness.or_else(|| lost?.found.parse().ok());
    Some(program)
}

fn fill(program: &mut Program, mut object: Map<String, Value>, history: &History, problems: &mut Vec<Problem>) {
    let id = program.id.clone();
    if let Some(run_id) = take_text(&mut object, "run_id").filter(|run_id| *run_id != id) {
        // Parents are found by the names of folders, so these are the ids.
        problems.push(Problem::note(&id, format!("run_id is {run_id}; the folder's name is taken")));
        keep(&mut program.extra, "run_id", Some(run_id.into()));
    }
    program.parent_id = take_text(&mut object, "parent_commit");
    program.problem_statement = take_text(&mut object, "problem_statement");
    let scored = match object.remove("overall_performance") {
        Some(Value::Object(performance)) => {
            program.fitness = performance.get("accuracy_score").and_then(Value::as_f64);
            note_counts(&performance, &id, problems);
            program.metrics = performance;
            true
        }
        _ => false,
    };
    // The second, deeper evaluation of the polyglot benchmark.
    keep(&mut program.metrics, "overall_performance_deep", object.remove("overall_performance_deep"));
    program.correct = object.get("is_compiled").and_then(Value::as_bool).or_else(|| history.compiled(&id));
    program.failure = if scored && program.correct != Some(false) {
        None
    } else if scored {
        Some("the agent did not compile, or gave empty patches alone".to_owned())
    } else {
        program.correct = Some(false);
        let reason = if program.parent_id.is_some() && program.problem_statement.is_none() {
            "no overall_performance: the problem was not diagnosed"
        } else if program.patch.as_deref().is_none_or(|patch| patch.trim().is_empty()) && program.id != ROOT {
            "no overall_performance: there is no patch"
        } else {
            "no overall_performance: the agent did not compile or its evaluation failed"
        };
        Some(reason.to_owned())
    };
    for (key, value) in object {
        keep(&mut program.extra, &key, Some(value));
    }
    if let Some(number) = history.generations.get(&id) {
        program.generation = *number;
    }
    if let Some(archive) = &history.archive {
        program.extra.insert("in_archive".to_owned(), archive.contains(&id).into());
    }
}

/// The counts that are shipped do not always agree; nothing is recomputed.
fn note_counts(performance: &Map<String, Value>, id: &str, problems: &mut Vec<Problem>) {
    let listed: Option<usize> = ["total_resolved_ids", "total_unresolved_ids", "total_emptypatch_ids"]
        .iter()
        .map(|key| performance.get(*key).and_then(Value::as_array).map(Vec::len))
        .sum();
    let submitted = performance.get("total_submitted_instances").and_then(Value::as_u64);
    if let (Some(listed), Some(submitted)) = (listed, submitted)
        && u64::try_from(listed) != Ok(submitted)
    {
        problems.push(Problem::note(
            id,
            format!("{submitted} instances submitted but {listed} listed; kept as they stand"),
        ));
    }
}

/// The agent's own patch; its full one is the chain from the root.
fn patch(file: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    match fs::read(file) {
        Ok(bytes) => Some(String::from_utf8(bytes).unwrap_or_else(|error| {
            problems.push(Problem::note(file.display().to_string(), "not UTF-8; bad bytes stored as U+FFFD"));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                problems
                    .push(Problem::note(file.display().to_string(), format!("{error}: imported without its patch")));
            }
            None
        }
    }
}

/// The time that an id such as `20250524_221130_123456` tells. The clock's zone is not known; UTC is assumed.
fn time_of(id: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(id, "%Y%m%d_%H%M%S_%6f").ok().map(|time| time.and_utc())
}

/// A generation that no record tells (its generation has not ended) is one above the parent's; a root's is 0.
fn generations(programs: &mut [Program], history: &History) {
    let index: HashMap<String, usize> = programs.iter().enumerate().map(|(i, p)| (p.id.clone(), i)).collect();
    let mut known: Vec<bool> = programs.iter().map(|p| history.generations.contains_key(&p.id)).collect();
    for start in 0..programs.len() {
        let mut chain = Vec::new();
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| !known[*at]) {
            // Marked when met, so that a cycle ends.
            known[at] = true;
            chain.push(at);
            next = programs[at].parent_id.as_ref().and_then(|parent| index.get(parent).copied());
        }
        let mut above = next.map(|at| programs[at].generation);
        for at in chain.into_iter().rev() {
            programs[at].generation = match (above, &programs[at].parent_id) {
                (Some(parent), _) => parent.saturating_add(1),
                // The parent is not in the run: it was at least a root.
                (None, Some(_)) => 1,
                (None, None) => 0,
            };
            above = Some(programs[at].generation);
        }
    }
}
