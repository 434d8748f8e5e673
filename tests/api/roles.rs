//! The roles of docs/OPERATIONS.md: each does its work with the grants that are written there, and nothing else.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::run::{folder, password, subfolder};
use crate::support::serve::Serve;
use crate::support::{Database, sql, stdout, until};

const ROLES: &[&str] = &["dgm_samples", "dgm_migrate", "dgm_serve", "dgm_backup", "dgm_export", "dgm_monitor"];

/// The SQL of the document that begins with this comment, for roles of this database: roles belong to the server.
fn grants(database: &Database, title: &str) -> String {
    let document = include_str!("../../docs/OPERATIONS.md");
    let (_, rest) = document.split_once(&format!("```sql\n-- grants: {title}\n")).unwrap();
    let mut statements = rest.split_once("```").unwrap().0.to_owned();
    for role in ROLES {
        statements = statements.replace(role, &own(database, role));
    }
    statements
}

fn own(database: &Database, role: &str) -> String {
    format!("{}_{}", database.name(), role.strip_prefix("dgm_").unwrap())
}

/// The URL of a role, which has a password from now on.
fn url(database: &Database, role: &str) -> String {
    let role = own(database, role);
    database.sql(&format!("ALTER ROLE {role} PASSWORD '{}'", password()));
    database.tcp_url(&role, password())
}

fn dgm(url: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command
        .args(arguments)
        .env("DATABASE_URL", url)
        .envs(settings.iter().copied())
        .current_dir(folder())
        .output()
        .unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    stdout(output)
}

/// Whether a statement is refused for want of a privilege.
fn refused(url: &str, statement: &str) -> bool {
    let psql = Command::new("psql").args(["-X", "-v", "VERBOSITY=verbose", "-c", statement, url]).output().unwrap();
    String::from_utf8_lossy(&psql.stderr).contains(" 42501: ")
}

fn granted() -> Database {
    let database = Database::empty();
    database.sql(&grants(&database, "before the first migration"));
    done(&dgm(&url(&database, "dgm_migrate"), &["migrate", "up"], &[]));
    let after = grants(&database, "after the first migration");
    database.sql(&after);
    database.sql(&after);
    database
}

#[test]
fn the_documented_grants_are_what_serving_needs() {
    let database = granted();
    let (serving, artifacts) = (url(&database, "dgm_serve"), subfolder());
    let artifacts = format!("file://{}", artifacts.path().display());
    let settings = [("DGM__ARTIFACTS__URL", artifacts.as_str())];
    let mut serve = Serve::start_at(&serving, "", &settings);
    serve.token = done(&dgm(&serving, &["token", "create", "--name", "w", "--role", "admin"], &[])).trim().to_owned();
    let entry = |id: &str| {
        json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
            "constitutional_compliance_score": 0.5})
    };
    until("it is ready", || serve.call("GET", "/ready", None).status == 200);
    let call = |method: &str, path: &str, body, status| serve.call(method, path, Some(&body)).expect(status);
    call("POST", "/api/v1/archive", entry("parent"), 201);
    call("PATCH", "/api/v1/archive/parent", json!({"accuracy_score": 0.6}), 200);
    call("POST", "/api/v1/archive:select-parents", json!({"service_name": "s"}), 200);
    call(
        "POST",
        "/api/v1/improvements",
        json!({"improvement_id": "i", "service_name": "s", "problem_statement": "p"}),
        201,
    );
    let claimed = call("POST", "/api/v1/improvements:claim", json!({"worker": "w"}), 200);
    let lease = claimed["items"][0]["lease_token"].clone();
    call("POST", "/api/v1/improvements/i/heartbeat", json!({"lease_token": lease}), 200);
    let child = json!({"archive_entry_id": "child", "accuracy_score": 0.7, "constitutional_compliance_score": 1});
    call("POST", "/api/v1/improvements/i/complete", json!({"lease_token": lease, "archive_entry": child}), 200);
    call("POST", "/api/v1/metrics", json!({"service_name": "s", "metric_type": "m", "metric_value": 1}), 201);
    assert_eq!(serve.request("PUT", "/api/v1/archive/parent/artifacts/a").body("bytes").send().unwrap().status(), 201);
    assert_eq!(serve.call("GET", "/api/v1/metrics/s/current", None).status, 200);

    // Every job, a month that is missing, and one that is no longer kept.
    let jobs = done(&dgm(&serving, &["job", "list"], &[]));
    let jobs: BTreeSet<&str> = jobs.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let reported = ["backup", "restore-drill", "backup-files"];
    for job in jobs.iter().filter(|job| !reported.contains(job)) {
        done(&dgm(&serving, &["job", "run", job], &settings));
    }
    done(&dgm(&serving, &["partition", "ensure"], &[("DGM__SAMPLES__PREMAKE_MONTHS", "9")]));
    let migrating = url(&database, "dgm_migrate");
    sql(&migrating, "SELECT create_monthly_partition('dgm_performance_metrics', '2020-01-01')");
    sql(&serving, "SELECT create_monthly_partition('dgm_performance_metrics', '2020-02-01')");
    // What will be missed is reported before it is due: a month that another role made by hand, and rights that are revoked.
    let samples = own(&database, "dgm_samples");
    let privileges = |expected: &str| {
        let doctor = stdout(&dgm(&serving, &["doctor"], &settings));
        let line = doctor.lines().find(|line| line.starts_with("privileges")).unwrap();
        assert!(line.contains("FAIL") && line.contains(expected), "{expected}: {doctor}");
    };
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', '2020-03-01')");
    privileges(", the owner of dgm_performance_metrics_2020_0");
    database.sql("REVOKE EXECUTE ON FUNCTION create_monthly_partition FROM PUBLIC");
    privileges("EXECUTE on create_monthly_partition to make the coming months");
    database.sql("GRANT EXECUTE ON FUNCTION create_monthly_partition TO PUBLIC");
    database.sql(&format!("REVOKE CREATE ON SCHEMA public FROM {samples}"));
    privileges(&format!("CREATE on schema public for {samples} to make"));
    database.sql(&format!("GRANT CREATE ON SCHEMA public TO {samples}"));
    let owners = "SELECT count(*), string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class
        WHERE relname ~ '^dgm_performance_metrics_2' AND relname !~ '_2020_' AND relkind = 'r'";
    let owners = database.sql(owners);
    let (count, owner) = owners.split_once('|').unwrap();
    assert!(count.parse::<u32>().unwrap() > 9, "{owners}");
    assert_eq!(owner, samples);
    database.sql(&grants(&database, "after the first migration"));
    done(&dgm(&serving, &["job", "run", "enforce-retention"], &[]));
    assert_eq!(database.sql("SELECT count(*) FROM pg_class WHERE relname ~ '_2020_0[123]$'"), "0");

    // doctor has nothing to say, and what only reads can.
    let doctor = stdout(&dgm(&serving, &["doctor"], &settings));
    assert!(doctor.contains("may read and write every table, make months and drop them"), "{doctor}");
    let failed: Vec<_> = doctor.lines().filter(|line| line.contains("FAIL") && !line.starts_with("disk")).collect();
    assert!(failed.is_empty(), "{doctor}");
    for command in ["status", "verify"] {
        done(&dgm(&serving, &["migrate", command], &[]));
        done(&dgm(&migrating, &["migrate", command], &[]));
    }
    // Not more than that.
    for statement in [
        "DELETE FROM _sqlx_migrations",
        "UPDATE dgm_migration_audit SET version = 0",
        "ALTER TABLE dgm_archive ADD COLUMN x int",
        "DROP TABLE dgm_improvements",
        "DROP TRIGGER trg_dgm_archive_touch ON dgm_archive",
        "TRUNCATE dgm_archive",
        "CREATE ROLE intruder",
    ] {
        assert!(refused(&serving, statement), "{statement}");
    }
    assert!(!dgm(&serving, &["migrate", "down", "--to", "1", "--yes"], &[]).status.success());
}

#[test]
fn the_documented_grants_are_what_migration_backup_and_export_need() {
    let database = granted();
    let [migrating, serving, backup, export, monitor] =
        ["dgm_migrate", "dgm_serve", "dgm_backup", "dgm_export", "dgm_monitor"].map(|role| url(&database, role));
    done(&dgm(&serving, &["partition", "ensure"], &[]));
    // A migration of a table with partitions of another owner, back and forth.
    done(&dgm(&migrating, &["migrate", "down", "--to", "4", "--yes"], &[]));
    done(&dgm(&migrating, &["migrate", "up"], &[]));
    database.sql(&grants(&database, "after the first migration"));
    done(&dgm(&serving, &["partition", "ensure"], &[]));
    database.sql(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics, accuracy_score,
            constitutional_compliance_score) VALUES ('e', 's', 'p', '{}', 0.5, 0.5)",
    );

    let dump = Command::new("pg_dump").args(["--no-owner", &backup]).output().unwrap();
    assert!(done(&dump).contains("dgm_performance_metrics_2"), "{dump:?}");
    let (artifacts, target) = (subfolder(), subfolder());
    let [artifacts, target] = [&artifacts, &target].map(|folder| format!("file://{}/a", folder.path().display()));
    let settings = [("DGM__ARTIFACTS__URL", artifacts.as_str())];
    for (url, purpose) in [(&artifacts, "artifacts"), (&target, "backup")] {
        done(&dgm(&backup, &["files", "init", url, "--purpose", purpose], &settings));
    }
    done(&dgm(&backup, &["files", "backup", &target], &settings));
    assert_eq!(database.sql("SELECT job_name, outcome FROM dgm_job_runs"), "backup-files|success");
    assert!(refused(&backup, "DELETE FROM dgm_archive"));

    assert!(done(&dgm(&export, &["export", "--service", "s"], &[])).contains("\"archive_entry_id\":\"e\""));
    assert!(refused(&export, "SELECT * FROM dgm_api_tokens"));
    assert_eq!(sql(&monitor, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"), "t");
    assert!(refused(&monitor, "SELECT * FROM dgm_archive"));
}
