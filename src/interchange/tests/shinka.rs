use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::{get, ids, options, says, write};
use crate::domain::archive::InspirationKind::{Archive, TopK};
use crate::interchange::{Error, Format, Severity, map, read};

const TABLE: &str =
    "CREATE TABLE programs (id TEXT PRIMARY KEY, code TEXT NOT NULL, language TEXT NOT NULL, parent_id TEXT,
    archive_inspiration_ids TEXT, top_k_inspiration_ids TEXT, generation INTEGER NOT NULL, timestamp REAL NOT NULL,
    code_diff TEXT, combined_score REAL, public_metrics TEXT, private_metrics TEXT, text_feedback TEXT, complexity REAL,
    embedding TEXT, embedding_pca_2d TEXT, embedding_pca_3d TEXT, embedding_cluster_id INTEGER,
    correct BOOLEAN DEFAULT 0, children_count INTEGER NOT NULL DEFAULT 0, metadata TEXT, migration_history TEXT,
    island_idx INTEGER, system_prompt_id TEXT);
    CREATE TABLE archive (program_id TEXT PRIMARY KEY);";

fn database(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch(TABLE).unwrap();
    connection
}

const ROWS: &str = r#"
    INSERT INTO programs (id, code, language, generation, timestamp, combined_score, public_metrics, private_metrics,
        text_feedback, complexity, embedding, correct, metadata, migration_history, island_idx) VALUES
      ('z-root', 'x = 1', 'python', 0, 1748124690.5, 0.25, '{"m": NaN}', '{"a": {"b": 0.5}}', '', 3.5, '[0.1]', 1,
       '{"cost": 0.01}', '[]', 2);
    INSERT INTO programs (id, code, language, parent_id, archive_inspiration_ids, top_k_inspiration_ids, generation,
        timestamp, code_diff, combined_score, public_metrics, correct, metadata, text_feedback, migration_history) VALUES
      ('kid', 'x = 2', 'python', 'z-root', '["z-root", "gone"]', '["z-root"]', 1, 1748124691, '-x = 1', 0.5, '{}', 1,
       'not json', 'good', '[{"from": 0, "to": 1}]'),
      ('wrong', 'x', 'python', 'z-root', '[]', 'null', 1, 1748124692, NULL, 0.125, NULL, 0, NULL, NULL, NULL),
      ('nan', 'x', 'python', 'z-root', '[]', '', 1, 1748124693, '', NULL, NULL, 1, NULL, NULL, NULL),
      ('inf', 'x', 'python', 'z-root', '[]', '[]', -1, 1748124694, '', 9e999, NULL, 1, NULL, NULL, NULL),
      ('numpy', 'x', 'python', 'z-root', '[]', '[]', x'0500000000000000', 1748124695, '', x'0000003f', NULL, x'01',
       NULL, NULL, NULL);
    INSERT INTO archive VALUES ('kid');"#;

#[test]
fn a_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evolution_db.sqlite");
    database(&file).execute_batch(ROWS).unwrap();
    let run = read(Format::Shinka, &file).unwrap();
    assert_eq!(run, read(Format::Shinka, folder.path()).unwrap());
    assert_eq!(ids(&run), ["z-root", "kid", "wrong", "nan", "inf", "numpy"]);

    let root = get(&run, "z-root");
    assert_eq!((root.fitness, root.correct, root.patch.as_deref()), (Some(0.25), Some(true), Some("x = 1")));
    let metrics = json!({"combined_score": 0.25, "public_metrics": {"m": null}, "private_metrics": {"a": {"b": 0.5}}});
    assert_eq!(json!(root.metrics), metrics);
    assert_eq!(
        json!(root.extra),
        json!({"language": "python", "complexity": 3.5, "metadata": {"cost": 0.01}, "island_idx": 2})
    );
    assert_eq!(root.created_at.unwrap().timestamp_millis(), 1_748_124_690_500);
    assert!(says(&run.problems, Severity::Note, "z-root", "/public_metrics/m: NaN stored as null"));

    let kid = get(&run, "kid");
    assert_eq!(kid.patch.as_deref(), Some("-x = 1"));
    let shown = [("z-root", Archive), ("gone", Archive), ("z-root", TopK)].map(|(id, kind)| (id.to_owned(), kind));
    assert_eq!(kid.inspirations, shown);
    assert_eq!(kid.extra["metadata"], json!("not json"));
    assert_eq!((&kid.extra["in_archive"], &kid.extra["text_feedback"]), (&json!(true), &json!("good")));
    assert_eq!(kid.extra["migration_history"], json!([{"from": 0, "to": 1}]));
    assert!(says(&run.problems, Severity::Note, "kid", "metadata is no JSON"));

    let wrong = get(&run, "wrong");
    assert_eq!((wrong.correct, wrong.fitness, wrong.failure.is_some()), (Some(false), Some(0.125), true));
    assert_eq!((get(&run, "nan").fitness, get(&run, "inf").fitness), (None, Some(f64::INFINITY)));
    assert_eq!(get(&run, "inf").metrics["combined_score"], json!(null));
    assert!(says(&run.problems, Severity::Note, "inf", "combined_score: inf stored as null"));
    assert!(says(&run.problems, Severity::Note, "inf", "generation -1"));
    let numpy = get(&run, "numpy");
    assert_eq!((numpy.generation, numpy.fitness, numpy.correct), (5, Some(0.5), Some(true)));

    let mapped = map(Format::Shinka, run, &options()).unwrap();
    let states: Vec<_> = mapped.entries.iter().map(|e| (e.status.as_str(), e.accuracy_score)).collect();
    let expected =
        [("active", 0.25), ("active", 0.5), ("failed", 0.125), ("failed", 0.0), ("failed", 0.0), ("active", 0.5)];
    assert_eq!(states, expected);
}

#[test]
fn an_old_file_has_fewer_columns() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("programs.sqlite")).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE programs (id TEXT PRIMARY KEY, code TEXT, generation INTEGER, combined_score REAL) WITHOUT ROWID;
             INSERT INTO programs VALUES ('a', 'x', 3, 0.5);",
        )
        .unwrap();
    let run = read(Format::Shinka, folder.path()).unwrap();
    let a = get(&run, "a");
    assert_eq!(
        (a.generation, a.fitness, a.correct, a.failure.as_ref(), a.created_at),
        (3, Some(0.5), None, None, None)
    );
    assert_eq!(run.problems, []);
}

#[test]
fn a_running_loop_is_read_as_of_its_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("programs.sqlite");
    let writer = database(&file);
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    let insert = "INSERT INTO programs (id, code, language, generation, timestamp) VALUES (?1, 'x', 'python', 0, 1)";
    writer.execute(insert, ["committed"]).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    writer.execute(insert, ["open"]).unwrap();
    assert_eq!(ids(&read(Format::Shinka, &file).unwrap()), ["committed"]);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(ids(&read(Format::Shinka, &file).unwrap()), ["committed", "open"]);
}

#[test]
fn reading_a_finished_run_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("50% é? a#b.sqlite");
    let writer = database(&file);
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.execute_batch(ROWS).unwrap();
    writer.close().unwrap();
    let listing = || std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(listing(), 1);
    assert_eq!(read(Format::Shinka, &file).unwrap().programs.len(), 6);
    assert_eq!(listing(), 1);
}

#[test]
fn another_database_is_no_run_and_a_damaged_one_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.sqlite");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE programs (id TEXT, title TEXT)").unwrap();
    assert!(matches!(read(Format::Shinka, &file), Err(Error::NotARun { .. })));
    write(folder.path(), "empty.sqlite", "");
    assert!(matches!(read(Format::Shinka, &folder.path().join("empty.sqlite")), Err(Error::NotARun { .. })));

    let cut = folder.path().join("cut.sqlite");
    database(&cut).execute_batch(ROWS).unwrap();
    let bytes = std::fs::read(&cut).unwrap();
    write(folder.path(), "cut.sqlite", &bytes[..4096]);
    assert!(matches!(read(Format::Shinka, &cut), Err(Error::Sqlite { .. })));
}
