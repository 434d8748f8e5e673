//! Processes whose clock is wrong, next to ones whose clock is right, by libfaketime.

use std::process::{Command, Output};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::faketime;
use crate::support::serve::Serve;
use crate::support::{Database, stdout, until};

/// Retention and partitions every second, so that a wrong decision would be made at once.
const EAGER: &str = "enforce-retention=* * * * * *; ensure-partitions=* * * * * *; collect-health=* * * * * *";
const CHILDREN: &str =
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass ORDER BY 1";

fn dgm(database: &Database, offset: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command.args(arguments).env("DATABASE_URL", database.url()).envs(faketime::off_by(offset)).output().unwrap()
}

fn serve(database: &Database, token: &str, clock: &[(&str, String)]) -> Serve {
    let mut settings: Vec<(&str, &str)> = clock.iter().map(|(name, value)| (*name, &**value)).collect();
    settings.push(("DGM__JOBS__SCHEDULES", EAGER));
    let mut serve = Serve::start_with(database, "", &settings);
    token.clone_into(&mut serve.token);
    serve
}

/// A month that is no longer kept, with rows of that time.
fn expired(database: &Database, months: u32) {
    database.sql(&format!(
        "SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '{months} months')::date);
         INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp, created_at)
         SELECT 's', 'm', 1, at, at FROM (SELECT date_trunc('month', now() - interval '{months} months') + interval '1 day' AS at) m"
    ));
}

fn ready(serve: &Serve) -> Value {
    serde_json::from_str(&serve.operations("/ready").send().unwrap().text().unwrap()).unwrap()
}

#[test]
fn a_replica_that_is_400_days_off_deletes_nothing_and_stores_by_the_clock_of_the_database() {
    let database = Database::ready();
    expired(&database, 20);
    let token = database.token("worker");
    let rows = "SELECT count(*), sum(hashtext(p::text)::bigint) FROM dgm_performance_metrics p";
    let now = json!({"service_name": "agent", "metric_type": "now", "metric_value": 1});
    for offset in ["+400d", "-400d"] {
        let (partitions, before) = (database.sql(CHILDREN), database.sql(rows));
        let wrong = serve(&database, &token, &faketime::off_by(offset));
        let failed = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'enforce-retention' AND outcome = 'failure'
             AND detail LIKE '%the clock of this process is 345%'";
        let made = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'ensure-partitions' AND outcome = 'success'";
        let enough: u64 = database.sql(made).parse::<u64>().unwrap() + 2;
        until("it has tried", || {
            database.sql(failed).parse::<u64>().unwrap() >= 2 && database.sql(made).parse::<u64>().unwrap() >= enough
        });
        assert_eq!((database.sql(CHILDREN), database.sql(rows)), (partitions, before), "{offset}");
        database.sql("DELETE FROM dgm_job_runs WHERE outcome = 'failure'");

        let state = ready(&wrong);
        let difference = state["clock_difference_seconds"].as_f64().unwrap();
        let ahead = if offset.starts_with('+') { 1.0 } else { -1.0 };
        assert!((difference * ahead - 400.0 * 86_400.0).abs() < 60.0, "{state}");
        assert_eq!(state["status"], "degraded", "{state}");
        assert!(state["detail"].as_str().unwrap().contains("synchronize both machines"), "{state}");
        assert!((wrong.metric("dgm_clock_difference_seconds").unwrap() * ahead - 400.0 * 86_400.0).abs() < 60.0);

        // What it stores has the time of the database, and its window is the others'.
        wrong.call("POST", "/api/v1/metrics", Some(&now)).expect(201);
        let stored = database.sql(
            "SELECT abs(extract(epoch FROM clock_timestamp() - max(measurement_timestamp))) < 30
             FROM dgm_performance_metrics WHERE metric_type = 'now'",
        );
        assert_eq!(stored, "t", "{offset}");
        let at = |time: DateTime<Utc>| json!({"service_name": "agent", "metric_type": "m", "metric_value": 1, "measurement_timestamp": time});
        let here = Utc::now();
        wrong.call("POST", "/api/v1/metrics", Some(&at(here))).expect(201);
        for days in [400, -400] {
            wrong.call("POST", "/api/v1/metrics", Some(&at(here + TimeDelta::days(days)))).expect(422);
        }
    }
    // The healthy ones go on, and drop what may go.
    let kept = database.sql(CHILDREN).lines().count() - 1;
    let healthy = [(); 2].map(|()| serve(&database, &token, &faketime::off_by("+0")));
    until("the old month is gone", || database.sql(CHILDREN).lines().count() == kept);
    for replica in &healthy {
        let state = ready(replica);
        assert_eq!((&state["status"], state.get("detail")), (&json!("ready"), None), "{state}");
        assert!(state["clock_difference_seconds"].as_f64().unwrap().abs() < 1.0, "{state}");
    }
}

#[test]
fn jobs_run_on_after_a_clock_that_was_ahead_is_set_right() {
    let database = Database::ready();
    let offset = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(offset.path(), "+3h\n").unwrap();
    let serve = serve(&database, &database.token("operator"), &faketime::off_by_file(offset.path()));
    let runs = |job: &str| serve.count(&format!("dgm_job_runs_total{{job_name=\"{job}\",outcome=\"success\"}}"));
    let jobs = ["collect-health", "ensure-partitions"];
    let go_on = |when: &str| {
        let before = jobs.map(runs);
        until(when, || jobs.iter().zip(before).all(|(job, before)| runs(job) >= before + 3));
    };
    go_on("jobs run");
    std::fs::write(offset.path(), "+0\n").unwrap();
    until("the clock is right", || serve.metric("dgm_clock_difference_seconds").unwrap().abs() < 1.0);
    go_on("jobs run on");
}

#[test]
fn commands_with_a_wrong_clock_delete_nothing_and_say_why() {
    let database = Database::ready();
    expired(&database, 20);
    let partitions = database.sql(CHILDREN);
    for (offset, words) in [
        ("+400d", "s ahead of that of the database"),
        ("-400d", "behind that of the database"),
        ("+7s", "ahead of that of the database"),
    ] {
        for arguments in [&["job", "run", "enforce-retention"][..], &["partition", "drop", "--yes"]] {
            let refused = dgm(&database, offset, arguments);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(refused.status.code() == Some(1) && said.contains(words), "{offset} {arguments:?}: {refused:?}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        let doctor = stdout(&dgm(&database, offset, &["doctor"]));
        let clock = doctor.lines().find(|line| line.starts_with("clock")).unwrap();
        assert!(clock.contains("FAIL") && clock.contains(words), "{clock}");
        assert!(dgm(&database, offset, &["partition", "ensure"]).status.success());
        assert_eq!(database.sql(CHILDREN), partitions, "{offset}");
    }
    // A difference that clocks have.
    let dropped = dgm(&database, "+3s", &["job", "run", "enforce-retention"]);
    assert_eq!(stdout(&dropped).trim(), "enforce-retention: 1 dropped", "{dropped:?}");
    assert_eq!(database.sql(CHILDREN).lines().count(), partitions.lines().count() - 1);
}

#[test]
fn a_month_that_is_in_use_or_in_the_future_is_kept_whatever_its_name() {
    let database = Database::ready();
    expired(&database, 20);
    expired(&database, 21);
    let old = database.sql(CHILDREN).lines().next().unwrap().to_owned();
    database.sql(&format!("UPDATE {old} SET created_at = now() - interval '23 hours'"));
    // By its name over for years, by its bounds not.
    database.sql(
        "CREATE TABLE dgm_performance_metrics_2020_01 PARTITION OF dgm_performance_metrics
         FOR VALUES FROM ('2035-01-01 00:00:00+00') TO ('2035-02-01 00:00:00+00')",
    );
    // Detached by hand, and with rows of the future.
    database.sql(
        "CREATE TABLE dgm_performance_metrics_2020_02 (LIKE dgm_performance_metrics INCLUDING ALL);
         INSERT INTO dgm_performance_metrics_2020_02 (service_name, metric_type, metric_value, measurement_timestamp, created_at)
         VALUES ('s', 'm', 1, now() + interval '1 day', now() - interval '2 days')",
    );
    let asked = stdout(&database.dgm(&["partition", "drop", "--dry-run"]));
    assert!(!asked.contains("2020_01"), "{asked}");
    let refused = database.dgm(&["partition", "drop"]);
    assert!(
        !refused.status.success() && stdout(&refused).ends_with("nothing was dropped; add --yes to go on\n"),
        "{refused:?}"
    );
    let done = database.dgm(&["partition", "drop", "--yes"]);
    let said = stdout(&done);
    assert!(done.status.success() && said.matches("dropped dgm_").count() == 1, "{said}");
    assert!(said.contains(&format!("kept {old}: rows were written to it at ")), "{said}");
    assert!(said.contains("kept dgm_performance_metrics_2020_02: it ends at "), "{said}");
    assert_eq!(database.sql("SELECT count(*) FROM dgm_performance_metrics_2020_02"), "1");
    assert_eq!(database.sql(&format!("SELECT count(*) FROM {old}")), "1");
    database.sql(&format!("UPDATE {old} SET created_at = now() - interval '25 hours'"));
    let done = stdout(&database.dgm(&["job", "run", "enforce-retention"]));
    assert!(done.contains("1 dropped, 1 kept; dgm_performance_metrics_2020_02: "), "{done}");
}
