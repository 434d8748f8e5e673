//! Runs in and out by the command line.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Database, stdout};

fn import(database: &Database, format: &str, path: &Path, more: &[&str]) -> Output {
    database.dgm(&[&["import", format, path.to_str().unwrap()], more].concat())
}

fn export(database: &Database, service: &str) -> Vec<Value> {
    let output = database.dgm(&["export", "--service", service]);
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A checkpoint of openevolve as its 0.4.0 writes it, with the faults that real ones have.
fn checkpoint(folder: &Path, programs: &[(&str, Option<&str>, u32, &str)]) {
    std::fs::create_dir_all(folder.join("programs")).unwrap();
    std::fs::write(folder.join("metadata.json"), r#"{"islands": [[]], "feature_stats": {}, "last_iteration": 3}"#)
        .unwrap();
    for (id, parent, generation, metrics) in programs {
        let parent = parent.map_or("null".to_owned(), |parent| format!("{parent:?}"));
        let program = format!(
            r#"{{"id": "{id}", "code": "print('{id}')", "language": "python", "parent_id": {parent},
                "generation": {generation}, "timestamp": 1767225600.25, "iteration_found": 1, "metrics": {metrics},
                "complexity": 1.0, "diversity": 0.0, "metadata": {{"island": 0}}}}"#
        );
        std::fs::write(folder.join("programs").join(format!("{id}.json")), program).unwrap();
    }
}

#[test]
fn a_run_is_imported_once_and_a_later_checkpoint_adds_what_is_new() {
    let database = Database::migrated();
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("checkpoint_1");
    checkpoint(
        &first,
        &[
            ("root", None, 0, r#"{"combined_score": 0.25, "note": "first"}"#),
            ("a", Some("root"), 1, r#"{"combined_score": 0.123456789012345678, "loss": NaN}"#),
            ("lost", Some("evicted"), 1, r#"{"combined_score": 0.9893058964858887}"#),
        ],
    );
    std::fs::write(first.join("programs/broken.json"), "{\"id\": ").unwrap();
    let strict = import(&database, "openevolve", &first, &["--service", "run", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&strict.stderr).contains("nothing was imported"), "{strict:?}");
    assert!(export(&database, "run").is_empty());

    let done = import(&database, "openevolve", &first, &["--service", "run"]);
    let text = stdout(&done);
    assert!(text.contains("3 entries read, 3 new, 0 known") && text.contains("depth of the tree 1"), "{done:?}");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(told.contains("broken.json") && told.contains("loss"), "{told}");
    assert!(stdout(&import(&database, "openevolve", &first, &["--service", "run"])).contains("0 new, 3 known"));

    let entries = export(&database, "run");
    let of = |id: &str| entries.iter().find(|e| e["evaluation_results"]["source"]["id"] == id).unwrap();
    assert_eq!(of("a")["parent_entry_id"], of("root")["archive_entry_id"]);
    assert_eq!(of("a")["performance_metrics"], json!({"combined_score": 0.123_456_789_012_345_68, "loss": null}));
    assert_eq!(of("a")["accuracy_score"], 0.1235);
    assert_eq!(of("a")["created_at"], "2026-01-01T00:00:00.250Z");
    // Exact to the last digit.
    assert_eq!(of("lost")["performance_metrics"]["combined_score"].to_string(), "0.9893058964858887");
    assert_eq!(
        (&of("lost")["parent_entry_id"], &of("lost")["evaluation_results"]["source"]["parent_evicted"]),
        (&Value::Null, &json!(true))
    );

    // The next checkpoint has evicted `root`; its new child finds it in the archive.
    let second = folder.path().join("checkpoint_2");
    checkpoint(&second, &[("b", Some("root"), 2, r#"{"combined_score": 0.5}"#)]);
    let text = stdout(&import(&database, "openevolve", &second, &["--service", "run"]));
    assert!(text.contains("1 entries read, 1 new") && text.contains("(1 of them found in the archive)"), "{text}");
    let entries = export(&database, "run");
    let root = entries.iter().find(|e| e["evaluation_results"]["source"]["id"] == "root").unwrap();
    let b = entries.iter().find(|e| e["evaluation_results"]["source"]["id"] == "b").unwrap();
    assert_eq!(b["parent_entry_id"], root["archive_entry_id"]);

    // Scores beyond 0..1 need a word of the user's.
    let third = folder.path().join("checkpoint_3");
    checkpoint(&third, &[("c", None, 0, r#"{"combined_score": 40}"#), ("d", None, 0, r#"{"combined_score": 60}"#)]);
    let refused = import(&database, "openevolve", &third, &["--service", "other"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("divide:"), "{refused:?}");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stdout(&import(&database, "openevolve", &third, &["--service", "other", "--scale", "divide:100"]))
            .contains("2 new")
    );
}

#[test]
fn an_export_round_trips_into_another_archive() {
    let (here, there) = (Database::migrated(), Database::migrated());
    let mut lines = String::new();
    // A grandchild that shares its generation with its parent, and a name that sorts before it.
    for (id, parent, generation) in [("m", None, 0), ("b", Some("m"), 1), ("a", Some("b"), 1)] {
        let entry = json!({
            "archive_entry_id": id, "parent_entry_id": parent, "generation_number": generation, "service_name": "s",
            "problem_statement": "p", "solution_patch": "ä\n", "performance_metrics": {"x": 0.1, "big": 1e300, "n": null},
            "accuracy_score": 0.3333, "constitutional_compliance_score": 1.0, "status": "archived",
            "evaluation_results": if id == "m" { Value::Null } else { json!({"k": [1, {"z": 2}]}) },
            "created_at": "2026-02-03T04:05:06.789012Z",
            "inspirations": if id == "a" { json!([{"archive_entry_id": "m", "kind": "top_k"}]) } else { json!([]) },
        });
        writeln!(lines, "{entry}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.jsonl");
    std::fs::write(&file, lines).unwrap();
    assert!(stdout(&import(&here, "jsonl", &file, &[])).contains("3 new"));
    let first = here.dgm(&["export", "--service", "s"]).stdout;
    std::fs::write(&file, &first).unwrap();
    assert!(stdout(&import(&there, "jsonl", &file, &[])).contains("3 new"));
    let (mut before, mut after) = (export(&here, "s"), export(&there, "s"));
    let order: Vec<_> = before.iter().map(|entry| entry["archive_entry_id"].clone()).collect();
    assert_eq!(order, ["m", "b", "a"], "parents before children");
    for entry in before.iter_mut().chain(&mut after) {
        for field in ["id", "updated_at"] {
            entry.as_object_mut().unwrap().remove(field);
        }
    }
    assert_eq!(before, after);
    assert!(stdout(&import(&there, "jsonl", &file, &[])).contains("0 new, 3 known"));

    std::fs::write(&file, first.split(|byte| *byte == b'\n').nth(2).unwrap()).unwrap();
    let orphan = import(&Database::migrated(), "jsonl", &file, &[]);
    assert!(String::from_utf8_lossy(&orphan.stderr).contains("neither in the export nor in the archive"), "{orphan:?}");
}

#[test]
fn a_filled_database_goes_down_to_nothing_and_comes_back() {
    let database = Database::migrated();
    let folder = tempfile::tempdir().unwrap();
    let programs: Vec<String> = (0..200).map(|n| format!("p{n}")).collect();
    let chain: Vec<_> = programs
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str(), n.checked_sub(1).map(|p| programs[p].as_str()), 0, r#"{"combined_score": 0.5}"#))
        .collect();
    checkpoint(folder.path(), &chain);
    assert!(
        stdout(&import(&database, "openevolve", folder.path(), &["--service", "s"])).contains("depth of the tree 199")
    );
    let warned = database.dgm(&["migrate", "down", "--to", "0"]);
    assert!(!warned.status.success());
    let words = [warned.stdout, warned.stderr].concat();
    assert!(String::from_utf8_lossy(&words).contains("200"), "{}", String::from_utf8_lossy(&words));
    assert_eq!(export(&database, "s").len(), 200, "a warning changes nothing");
    for arguments in [&["migrate", "down", "--to", "0", "--yes"][..], &["migrate", "up"], &["migrate", "verify"]] {
        let output = database.dgm(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    assert!(export(&database, "s").is_empty());
}
