//! Small runs, written by the tests themselves.

mod dgm;
mod mapping;
mod openevolve;
mod python_json;
mod score;
mod shinka;

use std::fs;
use std::path::Path;

use super::{Options, Problem, Program, Run, Scale, Score, Severity};

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn get<'a>(run: &'a Run, id: &str) -> &'a Program {
    run.programs.iter().find(|program| program.id == id).unwrap()
}

fn ids(run: &Run) -> Vec<&str> {
    run.programs.iter().map(|program| program.id.as_str()).collect()
}

/// Whether a problem of this severity stands at a place (its end) and says this.
fn says(problems: &[Problem], severity: Severity, place: &str, what: &str) -> bool {
    problems.iter().any(|p| p.severity == severity && p.place.ends_with(place) && p.what.contains(what))
}

fn options() -> Options {
    Options {
        service: "svc".to_owned(),
        score: Score::Fitness,
        scale: Scale::Identity,
        compliance: None,
        problem_statement: None,
    }
}
