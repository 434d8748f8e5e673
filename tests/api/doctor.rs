//! `dgm doctor`, and what every command says when the database cannot be used: the true cause, once, with the database.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::port::Port;
use crate::support::redis::Logical;
use crate::support::run::{folder, password};
use crate::support::{Database, stdout};

const PASSWORD: &str = "s3cret-word";
/// Every line, whatever is wrong. `integrity` may have several.
const CHECKS: &[&str] = &[
    "configuration",
    "database",
    "pooler",
    "encoding",
    "connections",
    "disk",
    "migrations",
    "partitions",
    "privileges",
    "upkeep",
    "statistics",
    "integrity",
    "clock",
    "replica",
    "cache",
    "redis",
    "artifacts",
    "exports",
    "tracing",
];

fn dgm(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    // Elsewhere it could find the database of a `dgm dev`.
    command.args(arguments).envs(environment.iter().copied()).current_dir(folder()).output().unwrap()
}

/// The lines, each `(check, level, text)`, after a look at what must hold of all reports.
fn doctor(environment: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let output = dgm(&["doctor", "--json"], environment);
    let text = stdout(&output);
    assert!(!text.contains(PASSWORD), "{text}");
    let lines: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let lines: Vec<_> =
        lines.iter().map(|line| (field(line, "check"), field(line, "level"), field(line, "text"))).collect();
    let mut checks: Vec<&str> = lines.iter().map(|(check, ..)| check.as_str()).collect();
    checks.dedup();
    let mut all = CHECKS.to_vec();
    all.sort_unstable();
    checks.sort_unstable();
    assert_eq!(checks, all, "{text}");
    let failed = lines.iter().any(|(_, level, _)| level == "fail");
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{text}");
    lines
}

/// The parts that are not well, but for the disk of the machine that runs the tests.
fn failures(lines: &[(String, String, String)]) -> Vec<(&str, &str)> {
    let failed = lines.iter().filter(|(check, level, _)| level == "fail" && check != "disk");
    failed.map(|(check, _, text)| (check.as_str(), text.as_str())).collect()
}

fn text<'a>(lines: &'a [(String, String, String)], check: &str) -> &'a str {
    &lines.iter().find(|line| line.0 == check).unwrap().2
}

/// A role of this test; the database of the test is its name.
fn role(database: &Database, kind: &str) -> String {
    let role = format!("{}_{kind}", database.name());
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
    role
}

#[test]
fn every_command_and_doctor_name_the_true_cause_once_with_the_database() {
    let (database, empty) = (Database::ready(), Database::empty());
    let role = role(&database, "nothing");
    let good = database.tcp_url(&role, PASSWORD);
    let closed = Port::claim();
    let server = good.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    // The URL, what is said, and which line of doctor says it.
    let cases = [
        (
            good.replace(PASSWORD, "s3cret-wor"),
            format!("password authentication failed for user \"{role}\""),
            "database",
        ),
        (
            format!("{}/gone", good.rsplit_once('/').unwrap().0),
            "database \"gone\" does not exist".to_owned(),
            "database",
        ),
        (good.replace(&server, &closed.address()), "Connection refused".to_owned(), "database"),
        (good.replace(&server, "nowhere.invalid:5432"), "failed to lookup address".to_owned(), "database"),
        (good.clone(), "permission denied for table".to_owned(), "migrations"),
        (empty.url(), "the database has no schema: run `dgm migrate up`".to_owned(), "migrations"),
    ];
    for (url, cause, check) in &cases {
        let environment = [("DATABASE_URL", url.as_str()), ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "1")];
        let lines = doctor(&environment);
        let failed = failures(&lines);
        assert!(failed.len() == 1 && failed[0].0 == *check && failed[0].1.contains(cause), "{url}: {lines:?}");
        let commands: &[&[&str]] =
            &[&["token", "list"], &["job", "list"], &["job", "run", "prune-changes"], &["partition", "ensure"]];
        // Months that are there already are found in the catalogue, which every role may read.
        let commands = if cause.starts_with("permission") { &commands[..3] } else { commands };
        for command in commands {
            let output = dgm(command, &environment);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{url} {command:?}: {said}");
            assert_eq!(said.matches(cause.as_str()).count(), 1, "{url} {command:?}: {said}");
            let target = url.rsplit_once('/').unwrap().1;
            assert!(said.contains(&format!("database {target:?} on ")), "{command:?}: {said}");
            let address = url.split('@').nth(1).unwrap().split('/').next().unwrap();
            assert!(said.matches(address).count() <= 1, "{command:?}: {said}");
            assert_eq!(stdout(&output), "", "{command:?}");
            for wrong in ["internal error", "not available", PASSWORD, "s3cret"] {
                assert!(!said.contains(wrong), "{url} {command:?}: {said}");
            }
        }
        // The migrator, too.
        if *check == "database" {
            let said = String::from_utf8_lossy(&dgm(&["migrate", "status"], &environment).stderr).into_owned();
            assert!(said.matches(cause.as_str()).count() == 1 && said.contains("database \""), "{said}");
        }
    }
}

#[test]
fn all_lines_are_there_without_a_database_or_a_configuration() {
    let none = doctor(&[("DATABASE_URL", "")]);
    assert_eq!(failures(&none).len(), 1, "{none:?}");
    assert!(text(&none, "database").contains("set DATABASE_URL"), "{none:?}");
    assert!(text(&none, "cache").contains("in-process only"), "{none:?}");
    let database = Database::ready();
    let url = database.url();
    let misspelt = doctor(&[("DATABASE_URL", &url), ("REDIS_URL", "readis://nowhere")]);
    assert_eq!(failures(&misspelt)[0].0, "configuration", "{misspelt:?}");
    doctor(&[("DATABASE_URL", &database.tcp_url("dgm", password()))]);
    let well = doctor(&[("DATABASE_URL", &url)]);
    assert!(failures(&well).is_empty(), "{well:?}");
    assert!(text(&well, "disk").contains(" GB free"), "{well:?}");
    assert!(text(&well, "privileges").contains("may read and write every table"), "{well:?}");
    let table = stdout(&database.dgm(&["doctor"]));
    assert!(table.contains("encoding     ok    UTF8"), "{table}");
}

#[test]
fn privileges_are_missed_before_they_are_needed_and_nothing_is_written() {
    let database = Database::ready();
    let role = role(&database, "server");
    database.sql(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"));
    let url = database.tcp_url(&role, PASSWORD);
    let environment = [("DATABASE_URL", url.as_str())];
    let lines = doctor(&environment);
    let failed = failures(&lines);
    assert!(failed.len() == 1 && failed[0].0 == "privileges", "{lines:?}");
    for part in
        ["the rights of dgm, the owner of dgm_performance_metrics", "CREATE on schema public", "dgm partition drop"]
    {
        assert!(failed[0].1.contains(part), "{lines:?}");
    }
    assert!(text(&lines, "integrity").contains("checks"), "verify writes nothing: {lines:?}");
    for command in ["status", "verify"] {
        let output = dgm(&["migrate", command], &environment);
        assert!(output.status.success(), "{output:?}");
    }
    // What happens when the month is due, and what the job says of it.
    database.sql(&format!("REVOKE DELETE ON dgm_archive FROM {role}"));
    assert!(failures(&doctor(&environment))[0].1.contains("DELETE on dgm_archive;"));
    let more = [environment[0], ("DGM__SAMPLES__PREMAKE_MONTHS", "9")];
    let job = dgm(&["job", "run", "ensure-partitions"], &more);
    let said = String::from_utf8_lossy(&job.stderr);
    assert!(said.contains("permission denied for schema public (SQLSTATE 42501)"), "{said}");
    assert!(said.contains(&format!("database {:?} on 127.0.0.1:", database.name())), "{said}");

    database.sql(&format!("GRANT DELETE ON dgm_archive TO {role}; GRANT dgm TO {role}"));
    assert!(failures(&doctor(&environment)).is_empty());
}

#[test]
fn replica_connections_and_encoding_have_lines() {
    let database = Database::ready();
    let url = database.url();
    let closed = Port::claim();
    let closed = format!("postgres://dgm:{PASSWORD}@{}/other", closed.address());
    let cases = [
        (("DATABASE_REPLICA_URL", closed.as_str()), "replica", "database \"other\" on 127.0.0.1:"),
        (("DATABASE_REPLICA_URL", url.as_str()), "replica", "it is no standby"),
        (
            ("DGM__DATABASE__MAX_CONNECTIONS", "5000"),
            "connections",
            "a process opens up to 5028, the server accepts 597",
        ),
    ];
    for (setting, check, said) in cases {
        let lines = doctor(&[("DATABASE_URL", &url), setting]);
        let failed = failures(&lines);
        assert!(failed.len() == 1 && failed[0].0 == check && failed[0].1.contains(said), "{setting:?}: {lines:?}");
    }
    // A limit of the role counts, too.
    let role = role(&database, "limited");
    database.sql(&format!("GRANT dgm TO {role}; ALTER ROLE {role} CONNECTION LIMIT 20"));
    let lines = doctor(&[("DATABASE_URL", &database.tcp_url(&role, PASSWORD))]);
    assert!(failures(&lines)[0].1.contains("limited to 20"), "{lines:?}");

    let latin = format!("{}_latin", database.name());
    database.sql(&format!("CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0"));
    let lines = doctor(&[("DATABASE_URL", &url.replace(database.name(), &latin))]);
    assert!(text(&lines, "database").contains("LATIN1") && failures(&lines)[0].0 == "database", "{lines:?}");
}

#[test]
fn redis_is_asked_for_every_command_that_is_needed() {
    let (database, redis) = (Database::ready(), Logical::new());
    let user = database.name();
    let acl = ["ACL", "SETUSER", user, "on", &format!(">{PASSWORD}"), "~dgm:*", "+get", "+ping", "+select", "+set"];
    redis.command(&acl);
    let url = redis.url().replace("redis://", &format!("redis://{user}:{PASSWORD}@"));
    let environment = [("DATABASE_URL", database.url()), ("REDIS_URL", url)];
    let environment = [(environment[0].0, environment[0].1.as_str()), (environment[1].0, environment[1].1.as_str())];
    let lines = doctor(&environment);
    let failed = failures(&lines);
    assert!(failed.len() == 1 && failed[0].0 == "redis", "{lines:?}");
    assert!(
        failed[0].1.contains("DEL: ") && failed[0].1.contains("INFO: ") && !failed[0].1.contains("GET: "),
        "{lines:?}"
    );
    redis.command(&["ACL", "SETUSER", user, "+del", "+info"]);
    assert!(failures(&doctor(&environment)).is_empty());
    // Keys that it may not touch.
    redis.command(&["ACL", "SETUSER", user, "resetkeys", "~other:*"]);
    let lines = doctor(&environment);
    assert!(failures(&lines)[0].1.contains("SET: "), "{lines:?}");
    redis.command(&["ACL", "DELUSER", user]);
}
