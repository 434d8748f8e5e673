//! A database that a newer binary migrated: one case with one answer, and nothing is done to it.

use crate::support::dev::{Dev, command};
use crate::support::run::subfolder;
use crate::support::serve::Serve;
use crate::support::{Database, stdout};
use dgm_service::store::migrate::newest_version;
use rustix::process::Signal;

const COMMANDS: &[&[&str]] = &[
    &["migrate", "status"],
    &["migrate", "verify"],
    &["migrate", "up"],
    &["migrate", "up", "--to", "27"],
    &["migrate", "down", "--to", "27"],
    &["migrate", "down", "--to", "27", "--yes"],
    &["migrate", "down", "--to", "0", "--yes"],
    &["migrate", "down", "--to", "9999", "--yes"],
    &["migrate", "down", "--to", "12345", "--yes"],
    &["doctor"],
];

fn row(version: i64, success: bool) -> String {
    format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ({version}, 'from the future', {success}, '\\x00', 1)"
    )
}

fn sentence(migrations: &str, them: &str) -> String {
    format!(
        "this dgm ({}) is older than the schema: the database has {migrations}, this dgm knows migrations up to {:04}. \
         Use the dgm that applied {them}, or a newer one; this one does not change the schema",
        env!("CARGO_PKG_VERSION"),
        newest_version()
    )
}

/// Everything that a command could have changed.
fn state(database: &Database) -> (String, String) {
    let rows = "SELECT version, success FROM _sqlx_migrations ORDER BY 1";
    let audit = "SELECT count(*) FROM dgm_migration_audit";
    (database.schema(), format!("{} {}", database.sql(rows), database.sql(audit)))
}

#[test]
fn every_command_gives_the_same_answer_and_does_nothing() {
    // What the database has in addition: above, below, several, failed half-way.
    let newest = newest_version();
    let cases = [
        (vec![row(newest + 1, true)], sentence(&format!("migration {:04}", newest + 1), "it")),
        (vec![row(0, true)], sentence("migration 0000", "it")),
        (vec![row(9999, false)], sentence("migration 9999", "it")),
        (
            vec![row(9999, true), row(0, true), format!("DELETE FROM _sqlx_migrations WHERE version = {newest}")],
            sentence("migrations 0000, 9999", "them"),
        ),
    ];
    for (statements, sentence) in cases {
        let database = Database::migrated();
        for statement in &statements {
            database.sql(statement);
        }
        let before = state(&database);
        for command in COMMANDS {
            let output = database.dgm(command);
            let said = format!("{}{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
            assert_eq!(said.matches(&sentence).count(), 1, "{command:?}: {said}");
            assert!(!said.contains("migrate up"), "{command:?}: {said}");
        }
        assert_eq!(state(&database), before);
    }
}

#[test]
fn status_lists_what_it_does_not_know() {
    let database = Database::migrated();
    database.sql(&row(9999, true));
    let status = stdout(&database.dgm(&["migrate", "status"]));
    assert_eq!(status.lines().last(), Some("9999  UNKNOWN  from the future"), "{status}");
}

#[test]
fn a_known_migration_that_failed_is_named_and_nothing_is_done() {
    let database = Database::migrated();
    database.sql("UPDATE _sqlx_migrations SET success = false WHERE version = 24");
    let before = state(&database);
    for command in [&["migrate", "up"][..], &["migrate", "down", "--to", "3", "--yes"]] {
        let output = database.dgm(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("migration 24 failed when it was applied"), "{command:?}: {said}");
    }
    let status = stdout(&database.dgm(&["migrate", "status"]));
    assert!(status.contains("0024  FAILED   harden create monthly partition"), "{status}");
    assert!(stdout(&database.dgm(&["doctor"])).contains("harden create monthly partition: failed when it was applied"));
    assert_eq!(state(&database), before);
}

#[test]
fn a_running_service_reports_it_and_serves_what_it_can() {
    let database = Database::ready();
    let serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    let ready = || {
        let answer = serve.operations("/ready").send().unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().unwrap())
    };
    let (status, body) = ready();
    assert_eq!((status, &body["status"], &body["schema"]), (200, &"ready".into(), &serde_json::Value::Null));
    // As during a rolling upgrade, in which the migration comes before the new replicas.
    database.sql(&row(9999, true));
    let told = sentence("migration 9999", "it");
    let (status, body) = ready();
    assert_eq!((status, body["status"].as_str()), (200, Some("degraded")), "{body}");
    assert_eq!((body["schema"].as_str(), body["schema_version"].as_i64()), (Some(told.as_str()), Some(9999)), "{body}");
    let page: serde_json::Value = serve.operations("/status.json").send().unwrap().json().unwrap();
    assert!(page["reasons"].to_string().contains(&told), "{page}");
    // One that starts on it serves, too.
    let next = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    assert_eq!(next.operations("/ready").send().unwrap().status().as_u16(), 200);
    drop(next);
    // What it needs was reverted beneath.
    database.sql(&format!("DELETE FROM _sqlx_migrations WHERE version = {}", newest_version()));
    let (status, body) = ready();
    assert_eq!((status, body["detail"].as_str()), (503, Some(told.as_str())), "{body}");
}

#[test]
fn dev_does_not_start_on_it_and_keeps_the_data() {
    let directory = subfolder();
    let mut dev = Dev::start(directory.path(), &[]);
    dev.sql(&row(9999, true));
    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal(Signal::INT), Some(0));
    let again = command(directory.path()).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(said.matches(&sentence("migration 9999", "it")).count(), 1, "{said}");
    assert!(!directory.path().join("pgdata/postmaster.pid").exists(), "its PostgreSQL runs on");
}
