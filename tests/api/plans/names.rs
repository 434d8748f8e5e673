//! Whether the names that the server sees are those that we measure by, by the server's own count (`pg_stat_statements`).

use std::collections::BTreeMap;
use std::time::Duration;

use dgm_service::telemetry::catalogue::Label as _;
use dgm_service::telemetry::catalogue::statements::Statement;

use crate::support::Database;
use crate::support::serve::Serve;

/// What the tools of PostgreSQL, sqlx and this test send without a name.
const EXEMPT: &str =
    "^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|LISTEN|UNLISTEN|CLOSE|DISCARD|SELECT pg_stat_statements_reset)\\M";
/// What other commands ran too, and what measures two statements together.
const MORE: &[&str] = &[
    "archive_candidates",
    "archive_export",
    "clock",
    "flush_probe",
    "feed_prune",
    "forget_survey",
    "forget_samples",
    "forget_improvements",
    "forget_entries",
    "improvement_rescue",
    "job_runs",
    "partition_ensure",
    "partition_status",
    "token_insert",
];

/// What makes a connection usable, before statements are measured.
const UNMEASURED: &[&str] = &["probe", "session"];

/// Checks all that ran since the statistics were reset.
pub(super) fn check(database: &Database, serve: &Serve) {
    let unnamed = database.sql(&format!(
        "SELECT query FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
         WHERE query !~ '^/\\* dgm:[a-z_]+ \\*/ ' AND query !~* '{EXEMPT}' AND query !~ 'pg_stat_statements'"
    ));
    assert_eq!(unnamed, "", "statements without a name");
    // It goes on measuring itself meanwhile, and each of the two counts a statement at its own time.
    let mut differing = Vec::new();
    for _ in 0..100 {
        differing = compare(database, serve);
        if differing.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{}", differing.join("\n"));
}

/// The names of which the two have not counted as many.
fn compare(database: &Database, serve: &Serve) -> Vec<String> {
    let before = serve.metrics();
    let told = database.sql(
        "SELECT substring(query FROM 'dgm:([a-z_]+)'), sum(calls) FROM pg_stat_statements
         WHERE query LIKE '/* dgm:%' GROUP BY 1",
    );
    let after = serve.metrics();
    let told: BTreeMap<&str, u64> = told
        .lines()
        .map(|line| line.split_once('|').unwrap())
        .map(|(name, calls)| (name, calls.parse().unwrap()))
        .collect();
    let unknown: Vec<_> =
        told.keys().filter(|name| !Statement::values().contains(name) && !UNMEASURED.contains(name)).collect();
    assert!(unknown.is_empty(), "names that the catalogue does not have: {unknown:?}");
    let (mut compared, mut differing) = (0, Vec::new());
    for name in Statement::values() {
        let series = format!("dgm_db_statement_duration_seconds_count{{statement=\"{name}\"}} ");
        let ours = |metrics: &str| {
            let count = metrics.lines().find_map(|line| line.strip_prefix(&series));
            count.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        let (ours, theirs) = (ours(&before)..=ours(&after), told.get(name).copied().unwrap_or(0));
        let agreed = if MORE.contains(&name) { theirs >= *ours.start() } else { ours.contains(&theirs) };
        if !agreed {
            differing.push(format!("{name}: we measured {ours:?}, the server {theirs}"));
        }
        compared += usize::from(*ours.start() > 0);
    }
    assert!(compared > 30, "only {compared} names were used");
    differing
}
