//! Every statement of the service on a filled database, by the server's own word (`auto_explain`): as it is executed, with
//! its values bound, planned for these values and, after some repetitions, for any.

mod calls;
mod fresh;
mod judge;
mod names;

use std::path::Path;
use std::process::Command;

use dgm_service::telemetry::catalogue::Label as _;
use dgm_service::telemetry::catalogue::statements::Statement;

use crate::support::serve::Serve;
use crate::support::session::Session;
use crate::support::{Database, setting, stdout};
use judge::Judge;

/// More than it takes the server to try a plan for any values.
const REPETITIONS: usize = 7;
/// Statements of other commands, or of jobs that no call starts.
const NOT_CALLED: &[&str] = &[
    "archive_export",
    "artifact_verify",
    "clock",
    "flush_probe",
    "feed_prune",
    "forget_survey",
    "forget_samples",
    "forget_improvements",
    "forget_entries",
    "job_runs",
    "partition_ensure",
    "partition_drop",
    "partition_read",
    "replica_lag",
    "token_state",
    "access_count",
    "improvement_rescue",
];

const EXPLAIN: &[(&str, &str)] = &[
    ("shared_preload_libraries", "pg_stat_statements"),
    ("session_preload_libraries", "auto_explain"),
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_format", "json"),
    ("auto_explain.log_nested_statements", "on"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "4GB"),
    ("max_connections", "60"),
    ("autovacuum", "off"),
];

/// Runs a file of tests/fill. Its statements are not explained.
fn fill(database: &Database, file: &str, entries: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fill").join(file);
    let options = format!(
        "{} -c auto_explain.log_min_duration=-1 -c fill.archive={entries} -c fill.improvements={entries} -c fill.samples={}",
        crate::support::hostile::pgoptions(),
        10 * entries
    );
    let output = Command::new("psql")
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(path)
        .arg(database.url())
        .env("PGOPTIONS", options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn no_statement_reads_a_large_table_whole_or_partitions_it_need_not() {
    let entries = setting("DGM_TEST_FILL", 60_000);
    let database = Database::own("auto_explain writes every plan into the log of the server", EXPLAIN);
    std::thread::scope(|scope| {
        scope.spawn(|| fill(&database, "archive.sql", entries));
        scope.spawn(|| fill(&database, "samples.sql", entries));
    });
    fill(&database, "vacuum.sql", entries);
    // Commits are notified while another process listens.
    let mut listens = Session::open(&database);
    listens.row("SET application_name = 'dgm-hub'; LISTEN dgm_work; SELECT 1");
    database.sql("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
    let artifacts = tempfile::tempdir().unwrap();
    let artifacts = format!("file://{}", artifacts.path().display());
    let settings =
        [("DGM__JOBS__ENABLED", "false"), ("DGM__ARTIFACTS__URL", &artifacts), ("DGM__ARTIFACTS__GRACE_SECONDS", "0")];
    let mut serve = Serve::start_with(&database, "", &settings);
    serve.token = database.token("admin");
    let judge = Judge::from_now_on(&database);
    for round in 0..REPETITIONS {
        calls::all(&serve, round, entries);
        for job in ["rescue-leases", "ensure-partitions", "prune-changes"] {
            assert!(database.dgm(&["job", "run", job]).status.success(), "{job}");
        }
        assert!(database.dgm(&["export", "--service", "service-00"]).status.success());
        calls::experiment(&serve, round);
        let forgotten = database.dgm(&["forget", &format!("experiment-{round}*"), "--yes"]);
        assert!(stdout(&forgotten).starts_with("removed 3 entries, 1 improvements"), "{forgotten:?}");
    }
    let metrics = serve.metrics();
    let called = |name: &str| {
        let series = format!("dgm_db_statement_duration_seconds_count{{statement=\"{name}\"}} ");
        metrics.lines().any(|line| line.strip_prefix(&series).is_some_and(|count| count != "0"))
    };
    let forgotten: Vec<&str> =
        Statement::values().into_iter().filter(|name| !called(name) && !NOT_CALLED.contains(name)).collect();
    assert_eq!(forgotten, [] as [&str; 0], "no call runs these statements");

    let errors: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("dgm_db_statement_errors_total{") && !line.ends_with(" 0"))
        .collect();
    assert_eq!(errors, [] as [&str; 0]);

    names::check(&database, &serve);

    let verdict = judge.verdict();
    assert!(verdict.plans > 40 * REPETITIONS, "only {} plans were logged", verdict.plans);
    assert!(verdict.faults.is_empty(), "{}", verdict.faults.join("\n\n"));
    assert_eq!(verdict.unseen, [] as [&str; 0], "no statement is like these");

    // A twentieth of everything, in several batches.
    database.sql(
        "UPDATE dgm_improvements SET lease_expires_at = now() WHERE service_name = 'service-18' AND status = 'running'",
    );
    let judge = Judge::from_now_on(&database);
    let forgotten = database.dgm(&["forget", "service-18", "--yes"]);
    assert!(forgotten.status.success(), "{forgotten:?}");
    let verdict = judge.verdict();
    assert!(verdict.plans > 100, "only {} plans were logged", verdict.plans);
    assert!(verdict.faults.is_empty(), "{}", verdict.faults.join("\n\n"));

    // The judge does find what must not be.
    let judge = Judge::from_now_on(&database);
    database.sql("SELECT count(*) FROM dgm_archive WHERE problem_statement = 'x'");
    database.sql("SELECT count(*) FROM dgm_performance_metrics WHERE service_name = 'big' AND metric_type = 'tokens'");
    let faults = judge.verdict().faults;
    assert!(faults.len() == 2 && faults[0].contains("reads dgm_archive whole"), "{faults:?}");
    assert!(faults[1].contains("partitions"), "{faults:?}");
}
