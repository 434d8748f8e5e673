//! `OpenEvolve` checkpoints (read from its version 0.4.0: `openevolve/database.py`, `utils/metrics_utils.py`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::python_json::{self, Repair};
use super::{
    Error, Format, Problem, Program, Run, file_name, generation, keep, listing, note_repairs, take_text, unix_time,
};

const LOOKED_FOR: &str =
    "programs/*.json of a checkpoint, here, in checkpoint_N, or in checkpoints/checkpoint_N (the highest N)";

pub(super) fn read(path: &Path) -> Result<Run, Error> {
    let not_a_run = || Error::NotARun { path: path.to_owned(), format: Format::OpenEvolve, looked_for: LOOKED_FOR };
    let checkpoint = checkpoint(path)?.ok_or_else(not_a_run)?;
    let mut problems = Vec::new();
    let population = Population::read(&checkpoint.join("metadata.json"), &mut problems);
    let mut programs = Vec::new();
    for file in listing(&checkpoint.join("programs"))? {
        if file.extension().is_some_and(|extension| extension == "json") {
            match program(&file, &population, &mut problems) {
                Ok(program) => programs.push(program),
                Err(why) => problems.push(Problem::skipped(file.display().to_string(), why)),
            }
        }
    }
    if programs.is_empty() && problems.iter().all(|p| p.place.ends_with("metadata.json")) {
        return Err(not_a_run());
    }
    Ok(Run { name: run_name(path), programs, problems })
}

/// The folder that holds `programs/`.
fn checkpoint(path: &Path) -> Result<Option<PathBuf>, Error> {
    if path.join("programs").is_dir() {
        return Ok(Some(path.to_owned()));
    }
    let below = path.join("checkpoints");
    let folder = if below.is_dir() { below.as_path() } else { path };
    if !folder.is_dir() {
        return Ok(None);
    }
    let number = |path: &Path| file_name(path).strip_prefix("checkpoint_")?.parse::<u64>().ok();
    Ok(listing(folder)?
        .into_iter()
        .filter(|path| path.join("programs").is_dir())
        .filter_map(|path| Some((number(&path)?, path)))
        .max()
        .map(|(_, path)| path))
}

/// The first name, from the path upwards, that is not that of a checkpoint: later checkpoints belong to the same run.
fn run_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let run = path.ancestors().find(|folder| {
        let name = file_name(folder);
        name != "checkpoints" && !name.starts_with("checkpoint_")
    });
    file_name(run.unwrap_or(&path))
}

/// What metadata.json tells of the population.
#[derive(Default)]
struct Population {
    features: HashSet<String>,
    islands: HashMap<String, Vec<usize>>,
    archive: HashSet<String>,
    best: Option<String>,
}

impl Population {
    /// Older and interrupted checkpoints have no such file, or a broken one: then nothing is known.
    fn read(file: &Path, problems: &mut Vec<Problem>) -> Self {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) => {
                problems.push(Problem::note(
                    file.display().to_string(),
                    format!("{error}: islands, archive and feature dimensions are not known"),
                ));
                return Self::default();
            }
        };
        let value = match python_json::parse(&text) {
            Ok(document) => document.value,
            Err(error) => {
                problems.push(Problem::skipped(file.display().to_string(), error.to_string()));
                return Self::default();
            }
        };
        let ids = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
        };
        let mut islands: HashMap<String, Vec<usize>> = HashMap::new();
        for (island, members) in value["islands"].as_array().into_iter().flatten().enumerate() {
            for id in ids(members) {
                islands.entry(id).or_default().push(island);
            }
        }
        Self {
            features: value["feature_stats"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            islands,
            archive: ids(&value["archive"]).into_iter().collect(),
            best: value["best_program_id"].as_str().map(str::to_owned),
        }
    }
}

fn program(file: &Path, population: &Population, problems: &mut Vec<Problem>) -> Result<Program, String> {
    let document = python_json::parse(&fs::read(file).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let Value::Object(mut object) = document.value else { return Err("no JSON object".to_owned()) };
    let mut program = Program::new(take_text(&mut object, "id").ok_or("no id")?);
    let id = program.id.clone();
    // The embedding is left out: thousands of numbers that the model makes anew.
    let repairs: Vec<_> = document.repairs.into_iter().filter(|r| !r.pointer.starts_with("/embedding/")).collect();
    object.remove("embedding");
    note_repairs(&repairs, &id, "", problems);

    program.parent_id = take_text(&mut object, "parent_id");
    program.generation = generation(object.remove("generation").as_ref(), &id, problems);
    program.created_at = unix_time(object.remove("timestamp").as_ref());
    program.patch = take_text(&mut object, "code");
    match object.remove("metrics") {
        Some(Value::Object(metrics)) => program.metrics = metrics,
        None | Some(Value::Null) => {}
        Some(_) => problems.push(Problem::note(&id, "metrics is no object; left out")),
    }
    program.fitness = fitness(&program.metrics, &population.features, &repairs);
    program.failure = failure(&program.metrics).map(str::to_owned);
    program.correct = program.failure.as_ref().map(|_| false);

    // Artifacts are JSON within JSON.
    let artifacts = object.remove("artifacts_json").map(|value| match &value {
        Value::String(text) => python_json::parse(text.as_bytes()).map_or(value, |inner| inner.value),
        _ => value,
    });
    keep(&mut program.extra, "artifacts", artifacts);
    for (key, value) in object {
        keep(&mut program.extra, &key, Some(value));
    }
    if let Some(islands) = population.islands.get(&id) {
        program.extra.insert("islands".to_owned(), json!(islands));
    }
    if population.archive.contains(&id) {
        program.extra.insert("in_archive".to_owned(), Value::Bool(true));
    }
    if population.best.as_ref() == Some(&id) {
        program.extra.insert("best".to_owned(), Value::Bool(true));
    }
    Ok(program)
}

/// `get_fitness_score`: `combined_score` as Python's `float()` takes it, else the mean of the numbers that are no
/// features, else of all numbers. NaN is left out of a mean, an infinity is not. Upstream answers 0 when there is no
/// number at all; here that is `None`, since nothing was measured.
fn fitness(metrics: &Map<String, Value>, features: &HashSet<String>, repairs: &[Repair]) -> Option<f64> {
    let repaired = |name: &str| {
        let pointer = format!("/metrics/{}", name.replace('~', "~0").replace('/', "~1"));
        // "NaN", "Infinity" and "-Infinity" are Rust's words as well; of an integer beyond a double the sign is known.
        repairs.iter().find(|r| r.pointer == pointer).and_then(|r| r.found.parse::<f64>().ok())
    };
    let number = |name: &str, value: &Value| value.as_f64().or_else(|| repaired(name));
    if let Some(combined) = metrics.get("combined_score") {
        let taken = match combined {
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::String(text) => text.trim().parse().ok(),
            other => number("combined_score", other),
        };
        if taken.is_some() {
            return taken;
        }
    }
    let mean = |with_features: bool| {
        let numbers = metrics
            .iter()
            .filter(|(name, _)| with_features || !features.contains(*name))
            .filter_map(|(name, value)| number(name, value))
            .filter(|number| !number.is_nan());
        let (sum, count) = numbers.fold((0.0, 0_u32), |(sum, count), number| (sum + number, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    mean(false).or_else(|| mean(true))
}

/// `evaluator.py` answers exactly these metrics for a program that it could not evaluate; an evaluator's own report of
/// an error has further metrics.
fn failure(metrics: &Map<String, Value>) -> Option<&'static str> {
    let known = metrics.contains_key("error") && metrics.keys().all(|key| key == "error" || key == "timeout");
    match metrics.get("timeout") {
        _ if !known => None,
        Some(Value::Bool(true)) => Some("the evaluation timed out"),
        _ => Some("the evaluation failed"),
    }
}
