use std::path::Path;

use chrono::{TimeZone as _, Utc};
use serde_json::json;

use super::{get, ids, options, says, write};
use crate::interchange::{Error, Format, Severity, map, read};

fn checkpoint(folder: &Path) {
    let metadata = json!({
        "island_feature_maps": [{"0-1": "a"}, {"3-3": "a"}], "islands": [["a", "b"], ["a"]], "archive": ["a"],
        "best_program_id": "a", "feature_stats": {"complexity": {"min": 1.0}, "score": {}},
    });
    write(folder, "metadata.json", metadata.to_string());
    write(
        folder,
        "programs/a.json",
        r#"{"id": "a", "code": "print(1)", "changes_description": null, "language": "python", "parent_id": null,
            "generation": 0, "timestamp": 1748124690.25, "iteration_found": 0, "complexity": 8.0,
            "metrics": {"combined_score": 2.5, "flag": true, "why": "NaN", "nested": {"x": NaN}, "list": [1]},
            "metadata": {"island": 0, "parent_metrics": {"m": Infinity}}, "prompts": {"p": "q"},
            "artifacts_json": "{\"log\": \"ok\", \"v\": NaN}", "embedding": [0.5, NaN]}"#,
    );
    // The parent was evicted; the mean is over x and y alone: complexity and score are features, the flag is no score.
    write(
        folder,
        "programs/b.json",
        r#"{"id": "b", "code": "", "parent_id": "gone", "generation": 7, "timestamp": 1748124691,
            "metrics": {"x": 0.25, "y": 0.75, "z": NaN, "complexity": 900, "score": 40, "ok": true, "s": "9"}}"#,
    );
    write(folder, "programs/c.json", r#"{"id": "c", "parent_id": "a", "metrics": {"combined_score": NaN, "x": 0.5}}"#);
    write(folder, "programs/d.json", r#"{"id": "d", "parent_id": "a", "metrics": {"error": 0.0, "timeout": true}}"#);
    write(folder, "programs/e.json", r#"{"id": "e", "parent_id": "a", "generation": -3, "metrics": null}"#);
    write(
        folder,
        "programs/f.json",
        r#"{"id": "f", "parent_id": "a", "generation": 3000000000, "metrics": {"score": 0.5}}"#,
    );
    write(folder, "programs/cut.json", r#"{"id": "g", "code": "def"#);
    write(folder, "programs/list.json", "[]");
    write(folder, "programs/nameless.json", "{}");
    write(folder, "programs/readme.txt", "no program");
}

#[test]
fn a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint(folder.path());
    let run = read(Format::OpenEvolve, folder.path()).unwrap();
    assert_eq!(ids(&run), ["a", "b", "c", "d", "e", "f"]);

    let a = get(&run, "a");
    assert_eq!(
        (a.fitness, a.generation, a.patch.as_deref(), a.failure.as_deref()),
        (Some(2.5), 0, Some("print(1)"), None)
    );
    assert_eq!(a.created_at, Some(Utc.timestamp_millis_opt(1_748_124_690_250).unwrap()));
    let metrics = json!({"combined_score": 2.5, "flag": true, "why": "NaN", "nested": {"x": null}, "list": [1]});
    assert_eq!(json!(a.metrics), metrics);
    let extra = json!({
        "language": "python", "iteration_found": 0, "complexity": 8.0, "prompts": {"p": "q"}, "in_archive": true,
        "metadata": {"island": 0, "parent_metrics": {"m": null}}, "artifacts": {"log": "ok", "v": null},
        "islands": [0, 1], "best": true,
    });
    assert_eq!(json!(a.extra), extra);
    assert!(says(&run.problems, Severity::Note, "a", "/metrics/nested/x: NaN stored as null"));
    assert!(says(&run.problems, Severity::Note, "a", "/metadata/parent_metrics/m: Infinity stored as null"));
    assert!(!run.problems.iter().any(|p| p.what.contains("embedding")));

    let b = get(&run, "b");
    assert_eq!((b.fitness, b.parent_id.as_deref(), b.patch.as_deref()), (Some(0.5), Some("gone"), None));
    assert!(get(&run, "c").fitness.unwrap().is_nan());
    let d = get(&run, "d");
    assert_eq!(
        (d.fitness, d.failure.as_deref(), d.correct),
        (Some(0.0), Some("the evaluation timed out"), Some(false))
    );
    assert_eq!((get(&run, "e").generation, get(&run, "e").fitness), (0, None));
    assert!(says(&run.problems, Severity::Note, "e", "generation -3"));
    // Features alone: then they count.
    assert_eq!((get(&run, "f").generation, get(&run, "f").fitness), (0, Some(0.5)));
    assert!(says(&run.problems, Severity::Note, "f", "generation 3000000000"));
    for (file, why) in [("cut.json", "EOF"), ("list.json", "no JSON object"), ("nameless.json", "no id")] {
        assert!(says(&run.problems, Severity::Skipped, file, why), "{file}: {:?}", run.problems);
    }
}

#[test]
fn fitness_follows_the_peers_rule() {
    let cases = [
        (r#"{"combined_score": " 0.5 ", "x": 9}"#, Some(0.5)),
        (r#"{"combined_score": true, "x": 9}"#, Some(1.0)),
        (r#"{"combined_score": null, "x": 9}"#, Some(9.0)),
        (r#"{"combined_score": "n/a", "x": 9, "y": 1}"#, Some(5.0)),
        (r#"{"combined_score": -Infinity, "x": 9}"#, Some(f64::NEG_INFINITY)),
        (r#"{"x": Infinity, "y": 1}"#, Some(f64::INFINITY)),
        (r#"{"a/b": -Infinity}"#, Some(f64::NEG_INFINITY)),
        (r#"{"x": NaN, "y": 1}"#, Some(1.0)),
        (r#"{"x": NaN}"#, None),
        (r#"{"ok": true, "s": "1"}"#, None),
        ("{}", None),
    ];
    for (metrics, fitness) in cases {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "programs/p.json", format!(r#"{{"id": "p", "metrics": {metrics}}}"#));
        assert_eq!(read(Format::OpenEvolve, folder.path()).unwrap().programs[0].fitness, fitness, "{metrics}");
    }
}

#[test]
fn the_highest_checkpoint_of_a_run_without_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("my_run");
    for (name, id) in [("checkpoint_9", "old"), ("checkpoint_100", "new"), ("checkpoint_x", "odd")] {
        let program = json!({"id": id, "code": "c", "generation": 1, "metrics": {"combined_score": 0.5}});
        write(&output, &format!("checkpoints/{name}/programs/{id}.json"), program.to_string());
    }
    // Just begun: nothing in it yet.
    std::fs::create_dir_all(output.join("checkpoints/checkpoint_200")).unwrap();
    for path in [output.clone(), output.join("checkpoints"), output.join("checkpoints/checkpoint_100")] {
        let run = read(Format::OpenEvolve, &path).unwrap();
        assert_eq!((ids(&run), run.name.as_str()), (vec!["new"], "my_run"), "{}", path.display());
        assert!(says(&run.problems, Severity::Note, "metadata.json", "are not known"));
        let entry = &map(Format::OpenEvolve, run, &options()).unwrap().entries[0];
        assert_eq!(entry.problem_statement, "openevolve run my_run");
    }
}

#[test]
fn broken_metadata_loses_no_program() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "metadata.json", "{\"islands\": [[");
    write(folder.path(), "programs/p.json", r#"{"id": 5, "parent_id": "", "metrics": {"x": 1}}"#);
    let run = read(Format::OpenEvolve, folder.path()).unwrap();
    assert_eq!((ids(&run), run.programs[0].parent_id.as_ref()), (vec!["5"], None));
    assert!(says(&run.problems, Severity::Skipped, "metadata.json", "EOF"));
}

#[test]
fn what_is_no_run_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::OpenEvolve, Format::Shinka, Format::Dgm] {
        let error = read(format, folder.path()).unwrap_err();
        assert!(matches!(error, Error::NotARun { .. }), "{error}");
        assert!(error.to_string().contains("looked for"), "{error}");
        assert!(matches!(read(format, &folder.path().join("none")), Err(Error::Io { .. })));
        write(
            folder.path(),
            "file",
            "text, not a run, and longer than the header of a database, which has 100 bytes ......................................",
        );
        assert!(matches!(read(format, &folder.path().join("file")), Err(Error::NotARun { .. })), "{format}");
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    std::fs::create_dir(folder.path().join("programs")).unwrap();
    assert!(matches!(read(Format::OpenEvolve, folder.path()), Err(Error::NotARun { .. })));
    assert!("mlflow".parse::<Format>().is_err());
}
