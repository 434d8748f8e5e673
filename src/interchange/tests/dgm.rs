use std::path::Path;

use serde_json::{Value, json};

use super::{get, ids, options, says, write};
use crate::interchange::{Error, Format, Severity, map, read};

const A: &str = "20250524_221130_123456";
const B: &str = "20250524_230000_000001";
const C: &str = "20250525_010000_000000";
const D: &str = "20250525_020000_000000";
const E: &str = "20250525_030000_000000";

fn agent(run: &Path, id: &str, metadata: &Value) {
    write(run, &format!("{id}/metadata.json"), serde_json::to_string_pretty(metadata).unwrap());
}

fn performance(accuracy: f64) -> Value {
    json!({"accuracy_score": accuracy, "total_resolved_ids": ["r"], "total_unresolved_ids": ["u"],
           "total_emptypatch_ids": [], "total_submitted_instances": 2})
}

fn run_folder(run: &Path) {
    let initial = json!({"overall_performance": {"accuracy_score": 0.2, "total_resolved_ids": ["r"],
        "total_unresolved_ids": [], "total_emptypatch_ids": [], "total_submitted_instances": 60}});
    agent(run, "initial", &initial);
    agent(
        run,
        A,
        &json!({"run_id": A, "parent_commit": "initial", "entry": "django__django-1", "problem_statement": "why",
        "is_compiled": true, "overall_performance": performance(0.5), "overall_performance_deep": performance(0.142),
        "improvement_diagnosis": {"score": 1}, "model_patch_exists": true, "swe_dnames": ["d"]}),
    );
    write(run, &format!("{A}/model_patch.diff"), b"--- a\n+\xff\n");
    agent(run, B, &json!({"run_id": B, "parent_commit": A, "entry": "e", "problem_statement": null}));
    agent(run, C, &json!({"run_id": C, "parent_commit": A, "problem_statement": "p", "overall_performance": null}));
    write(run, &format!("{C}/model_patch.diff"), "diff");
    // Scored, but its generation's record does not count it as compiled, and says nothing itself.
    agent(
        run,
        D,
        &json!({"run_id": D, "parent_commit": A, "problem_statement": "p", "overall_performance": performance(0.1)}),
    );
    // Its generation has not ended, so no record names it.
    agent(run, E, &json!({"run_id": "renamed", "parent_commit": D, "overall_performance": performance(0.6)}));
    std::fs::create_dir_all(run.join("20250525_040000_000000")).unwrap();
    std::fs::create_dir_all(run.join("logs")).unwrap();
    write(run, "20250525_050000_000000/metadata.json", "{\"run_id\": ");
    agent(run, "unrelated", &json!({"a": 1}));
    let record = |generation: i32, children: &[&str], compiled: &[&str], archive: &[&str]| {
        let record = json!({"generation": generation, "selfimprove_entries": [["initial", "e"]], "children": children,
            "children_compiled": compiled, "archive": archive});
        serde_json::to_string_pretty(&record).unwrap() + "\n"
    };
    let records = record(0, &[A], &[A], &["initial", A])
        + "{\n  \"generation\": 1,\n  \"children\": [\n"
        + &record(2, &[B, C, D], &[], &["initial", A]);
    write(run, "dgm_metadata.jsonl", records);
}

#[test]
fn a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output_dgm/20250524221100_000000");
    run_folder(&path);
    let run = read(Format::Dgm, &path).unwrap();
    assert_eq!((ids(&run), run.name.as_str()), (vec![A, B, C, D, E, "initial"], "20250524221100_000000"));

    let root = get(&run, "initial");
    assert_eq!((root.generation, root.fitness, root.failure.as_ref(), root.correct), (0, Some(0.2), None, None));
    assert!(says(&run.problems, Severity::Note, "initial", "60 instances submitted but 1 listed"));

    let a = get(&run, A);
    assert_eq!(
        (a.parent_id.as_deref(), a.problem_statement.as_deref(), a.correct),
        (Some("initial"), Some("why"), Some(true))
    );
    assert_eq!(a.patch.as_deref(), Some("--- a\n+\u{fffd}\n"));
    assert!(says(&run.problems, Severity::Note, "model_patch.diff", "not UTF-8"));
    assert_eq!(a.created_at.unwrap().to_rfc3339(), "2025-05-24T22:11:30.123456+00:00");
    assert_eq!(a.metrics["overall_performance_deep"]["accuracy_score"], json!(0.142));
    assert_eq!(a.metrics["total_resolved_ids"], json!(["r"]));
    let extra = json!({"entry": "django__django-1", "is_compiled": true, "improvement_diagnosis": {"score": 1},
        "model_patch_exists": true, "swe_dnames": ["d"], "in_archive": true});
    assert_eq!(json!(a.extra), extra);

    let reasons =
        [(B, "not diagnosed"), (C, "did not compile or its evaluation failed"), (D, "did not compile, or gave")];
    for (id, reason) in reasons {
        let program = get(&run, id);
        assert!(program.failure.as_ref().unwrap().contains(reason), "{program:?}");
        assert_eq!(program.correct, Some(false));
    }
    assert!(says(&run.problems, Severity::Note, E, "run_id is renamed"));
    // As recorded; the one without a record stands one above its parent.
    let generations: Vec<_> = [A, B, C, D, E].iter().map(|id| get(&run, id).generation).collect();
    assert_eq!(generations, [0, 2, 2, 2, 3]);

    assert!(says(&run.problems, Severity::Skipped, "dgm_metadata.jsonl:20", "cut short"), "{:?}", run.problems);
    assert!(says(&run.problems, Severity::Skipped, "20250525_040000_000000/metadata.json", "missing"));
    assert!(says(&run.problems, Severity::Skipped, "20250525_050000_000000/metadata.json", "EOF"));
    assert!(says(&run.problems, Severity::Skipped, "unrelated/metadata.json", "not an agent's"));
    assert!(!run.problems.iter().any(|p| p.place.contains("logs")));

    let mapped = map(Format::Dgm, run, &options()).unwrap();
    let states: Vec<_> = mapped
        .entries
        .iter()
        .map(|e| (e.status.as_str(), e.accuracy_score, e.constitutional_compliance_score))
        .collect();
    let failed = ("failed", 0.0, 0.0);
    let expected =
        [("active", 0.2, 1.0), ("active", 0.5, 1.0), failed, failed, ("failed", 0.1, 0.0), ("active", 0.6, 1.0)];
    assert_eq!(states, expected);
    assert_eq!((mapped.deepest, mapped.evicted_parents), (3, 0));
}

#[test]
fn the_root_is_found_beside_the_runs_or_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output_dgm/run");
    agent(&path, A, &json!({"run_id": A, "parent_commit": "initial", "overall_performance": performance(0.5)}));
    agent(&path, B, &json!({"run_id": B, "parent_commit": A, "overall_performance": performance(0.5)}));
    let run = read(Format::Dgm, &path).unwrap();
    assert_eq!(ids(&run), [A, B]);
    assert_eq!((get(&run, A).generation, get(&run, B).generation), (1, 2));
    assert!(says(&run.problems, Severity::Note, "dgm_metadata.jsonl", "counted from the parents"));
    let mapped = map(Format::Dgm, run, &options()).unwrap();
    assert_eq!((mapped.evicted_parents, mapped.entries[0].parent_entry_id.as_ref()), (1, None));

    agent(folder.path(), "initial", &json!({"overall_performance": performance(0.2)}));
    let run = read(Format::Dgm, &path).unwrap();
    assert_eq!(ids(&run), [A, B, "initial"]);
    assert_eq!(map(Format::Dgm, run, &options()).unwrap().evicted_parents, 0);
}

#[test]
fn a_score_that_is_nan_is_told_from_none() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "initial/metadata.json", r#"{"overall_performance": {"accuracy_score": NaN}}"#);
    let run = read(Format::Dgm, folder.path()).unwrap();
    assert!(run.programs[0].fitness.unwrap().is_nan());
    assert!(says(&run.problems, Severity::Note, "initial", "/overall_performance/accuracy_score: NaN"));
}

#[test]
fn parents_in_a_circle_end() {
    let folder = tempfile::tempdir().unwrap();
    for (id, parent) in [(A, B), (B, A), (C, C)] {
        agent(folder.path(), id, &json!({"parent_commit": parent, "overall_performance": performance(0.5)}));
    }
    let run = read(Format::Dgm, folder.path()).unwrap();
    let mapped = map(Format::Dgm, run, &options()).unwrap();
    assert_eq!(mapped.entries.iter().filter(|e| e.parent_entry_id.is_none()).count(), 2);
}

#[test]
fn a_run_that_has_only_begun_is_empty_and_a_checkpoint_folder_is_none() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "checkpoint_1/metadata.json", r#"{"islands": []}"#);
    assert!(matches!(read(Format::Dgm, folder.path()), Err(Error::NotARun { .. })));
    write(folder.path(), "dgm_metadata.jsonl", "");
    assert_eq!(read(Format::Dgm, folder.path()).unwrap().programs, []);
}
