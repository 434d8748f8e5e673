//! Closed sets: the enums of the domain, the constraints of the database and the OpenAPI document have the same words.

use std::collections::BTreeMap;

use dgm_service::domain::{archive, identity, improvement, job};
use dgm_service::http::document;
use dgm_service::store::migrate;

use crate::support::run::subfolder;
use crate::support::service::Service;
use crate::support::{Database, until};

/// Each column that a constraint restricts to some words, and the constraint.
const RESTRICTED: &str = "
    SELECT k.conrelid::regclass || '.' || a.attname, pg_get_constraintdef(k.oid) FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
    WHERE k.contype = 'c' AND pg_get_constraintdef(k.oid) LIKE '%ARRAY[%'";

#[test]
fn the_database_admits_the_words_of_the_enums_and_no_others() {
    let database = Database::migrated();
    let answer = database.sql(RESTRICTED);
    let found: BTreeMap<&str, Vec<&str>> = answer
        .lines()
        .map(|line| line.split_once('|').unwrap())
        // The words are what the definition has in quotes.
        .map(|(column, definition)| (column, definition.split('\'').skip(1).step_by(2).collect()))
        .collect();
    let enums: BTreeMap<&str, Vec<&str>> = [
        ("dgm_api_tokens.role", identity::Role::WORDS),
        ("dgm_archive.status", archive::Status::WORDS),
        ("dgm_archive_inspirations.kind", archive::InspirationKind::WORDS),
        ("dgm_improvement_events.event", improvement::EventKind::WORDS),
        ("dgm_improvements.priority", improvement::Priority::WORDS),
        ("dgm_improvements.status", improvement::Status::WORDS),
        ("dgm_job_runs.outcome", job::RunOutcome::WORDS),
        ("dgm_migration_audit.direction", migrate::Direction::WORDS),
    ]
    .map(|(column, words)| (column, words.to_vec()))
    .into();
    assert_eq!(found, enums);
}

#[test]
fn the_document_has_each_set_as_an_enum_wherever_it_occurs() {
    let document = serde_json::to_value(document()).unwrap();
    let words = |schema: &str| document["components"]["schemas"][schema]["enum"].clone();
    for (schema, expected) in [
        ("EntryStatus", archive::Status::WORDS),
        ("EventKind", improvement::EventKind::WORDS),
        ("ImprovementStatus", improvement::Status::WORDS),
        ("InspirationKind", archive::InspirationKind::WORDS),
        ("Priority", improvement::Priority::WORDS),
        ("Role", identity::Role::WORDS),
        ("RunOutcome", job::RunOutcome::WORDS),
    ] {
        assert_eq!(words(schema), serde_json::json!(expected), "{schema}");
    }
    let reference = |schema: &str| format!("#/components/schemas/{schema}");
    for (of, field, schema) in [
        ("Improvement", "status", "ImprovementStatus"),
        ("Improvement", "priority", "Priority"),
        ("NewImprovement", "priority", "Priority"),
        ("Event", "event", "EventKind"),
        ("Summary", "status", "EntryStatus"),
        ("NewEntry", "status", "EntryStatus"),
        ("TokenInfo", "role", "Role"),
    ] {
        let property = &document["components"]["schemas"][of]["properties"][field];
        assert_eq!(property["$ref"], reference(schema), "{of}.{field}: {property}");
    }
    for (path, name, schema) in [
        ("/api/v1/improvements", "status", "ImprovementStatus"),
        ("/api/v1/improvements", "priority", "Priority"),
        ("/api/v1/archive", "status", "EntryStatus"),
    ] {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
        assert_eq!(parameter["schema"]["$ref"], reference(schema), "{path}?{name}: {parameter}");
    }
}

#[test]
fn a_word_that_is_in_no_set_is_refused_from_callers_and_named_when_the_database_has_it() {
    let logs = subfolder();
    let folder = logs.path().to_str().unwrap();
    let service = Service::start(&[("DGM__AUTH__REQUIRED", "false"), ("DGM__TELEMETRY__LOG_DIR", folder)]);
    for (path, words) in [
        ("/api/v1/improvements?status=paused", improvement::Status::WORDS),
        ("/api/v1/improvements?priority=paused", improvement::Priority::WORDS),
        ("/api/v1/archive?status=paused", archive::Status::WORDS),
        ("/api/v1/archive?sort=paused", &["accuracy", "compliance", "created"][..]),
    ] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.problem()), (400, "invalid-parameter"), "{path}: {answer:?}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(words.iter().all(|word| detail.contains(word)), "{path}: {detail}");
    }
    // By hand, past the constraint.
    service.sql("ALTER TABLE dgm_api_tokens DROP CONSTRAINT chk_token_role");
    service.sql("INSERT INTO dgm_api_tokens (name, role, token_hash) VALUES ('t', 'root', sha256('t'))");
    let answer = service.get("/api/v1/admin/tokens");
    assert_eq!((answer.status, answer.problem()), (500, "internal"), "{answer:?}");
    assert_eq!(service.get("/ready").status, 200);
    let said = "decoding column \"role\": no role \"root\": reader, worker, operator or admin";
    until("the log names the column and the word", || {
        let files = std::fs::read_dir(logs.path()).unwrap();
        let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        text.replace("\\\"", "\"").contains(said)
    });
}
