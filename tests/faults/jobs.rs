//! Jobs whose replica dies, and retention that meets a reader.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, Slowdown, setting, stdout, until};

/// Every two seconds, so that a short run sees many occurrences.
const OFTEN: &str =
    "prune-changes = */2 * * * * *; enforce-retention = */2 * * * * *; ensure-partitions = */2 * * * * *";

#[test]
fn of_two_replicas_one_runs_each_occurrence_and_takes_over_from_one_that_dies() {
    let occurrences = setting("DGM_TEST_JOB_OCCURRENCES", 3);
    let slowdown = Slowdown::watch();
    let database = Database::migrated();
    let settings = [("DGM__JOBS__SCHEDULES", OFTEN), ("DGM__SAMPLES__RETENTION_PATIENCE_SECONDS", "50")];
    let mut replicas = [(); 2].map(|()| Serve::start_with(&database, "", &settings));
    // So many more runs of a job that nothing holds up.
    let runs = || -> usize {
        let runs = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'prune-changes' AND outcome = 'success'";
        database.sql(runs).parse().unwrap()
    };
    let time_passes = || {
        let enough = runs() + occurrences;
        until("jobs are run", || runs() >= enough);
    };
    time_passes();

    // A job that takes long: retention waits for a reader. Whoever is at it is killed.
    let reader = Holder::reader(&database, 600);
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '20 months')::date)");
    let at_it = "SELECT instance FROM dgm_job_runs WHERE job_name = 'enforce-retention' AND finished_at IS NULL
                 AND started_at < now() - interval '1 second'";
    let mut instance = String::new();
    until("somebody waits for the reader", || {
        instance = database.sql(at_it);
        !instance.is_empty()
    });
    let victim = replicas.iter().position(|replica| instance.ends_with(&format!(":{}", replica.pid()))).unwrap();
    replicas[victim].kill();
    let killed = Instant::now();
    drop(reader);
    let survivor = &replicas[1 - victim];
    let taken = format!(
        "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'enforce-retention' AND outcome = 'success'
        AND instance LIKE '%:{}' AND detail = '1 dropped'",
        survivor.pid()
    );
    until("the other takes over", || database.sql(&taken) == "1");
    let took_over = killed.elapsed();
    time_passes();

    let twice = database.sql(
        "SELECT job_name, scheduled_for, count(*) FROM dgm_job_runs WHERE outcome IS DISTINCT FROM 'lost'
         GROUP BY 1, 2 HAVING count(*) > 1",
    );
    assert_eq!(twice, "", "an occurrence was run twice");
    // The one that was killed may have been at a short job as well.
    let lost = database.sql(
        "SELECT count(*) FILTER (WHERE job_name = 'enforce-retention'), max(n), count(DISTINCT instance) FROM
         (SELECT job_name, instance, count(*) OVER (PARTITION BY job_name) AS n FROM dgm_job_runs WHERE outcome = 'lost') l",
    );
    assert_eq!(lost, "1|1|1");
    // Of the job that nothing held up, none is missing from its first run to its last; one may be where the machine was
    // busy for longer than until the next.
    let most = slowdown.stretch(Duration::from_secs(2)).as_secs().next_multiple_of(2) - 2;
    let gaps = database.sql(&format!(
        "SELECT count(*) FROM (SELECT scheduled_for - lag(scheduled_for) OVER (ORDER BY scheduled_for) AS gap
         FROM dgm_job_runs WHERE job_name = 'prune-changes') g
         WHERE gap NOT BETWEEN interval '2 seconds' AND greatest(2, {most}) * interval '1 second'"
    ));
    assert_eq!(
        gaps,
        "0",
        "{}",
        database.sql("SELECT * FROM dgm_job_runs WHERE job_name = 'prune-changes' ORDER BY id")
    );
    let count = |what: &str| survivor.count(&format!("dgm_job_runs_total{{job_name=\"{what}\"}}"));
    assert_eq!(count("enforce-retention\",outcome=\"lost"), 1);
    let recorded = || -> u64 {
        let of_it = format!("outcome = 'success' AND instance LIKE '%:{}'", survivor.pid());
        let runs = format!("SELECT count(*) FROM dgm_job_runs WHERE job_name = 'prune-changes' AND {of_it}");
        database.sql(&runs).parse().unwrap()
    };
    let (before, counted, after) = (recorded(), count("prune-changes\",outcome=\"success"), recorded());
    // A run is counted before it is recorded.
    assert!((before..=after + 1).contains(&counted), "{before} to {after} recorded, {counted} counted");
    eprintln!("jobs: taken over {:.1} s after the kill", took_over.as_secs_f64());
}

#[test]
fn retention_waits_for_a_reader_without_holding_up_writers_and_gives_up_in_time() {
    let database = Database::migrated();
    for months in [14, 15, 3] {
        database.sql(&format!(
            "SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '{months} months')::date);
             INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp, created_at)
             SELECT 's', 'm', 1, date_trunc('month', now() - interval '{months} months') + interval '1 day', now() - interval '25 hours'"
        ));
    }
    let mut serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    serve.token = database.token("worker");
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_dgm"))
            .args(["partition", "drop", "--yes"])
            .envs([("DATABASE_URL", database.url().as_str()), ("DGM__SAMPLES__RETENTION_PATIENCE_SECONDS", "3")])
            .output()
            .unwrap()
    };
    let dry = stdout(&database.dgm(&["partition", "drop", "--dry-run"]));
    assert_eq!(dry.lines().count(), 2, "{dry}");
    assert!(dry.contains(" bytes), without an export: samples.export_url is not set"), "{dry}");
    let sample = serde_json::json!({"service_name": "s", "metric_type": "m", "metric_value": 1});
    let write = |times: usize| {
        let mut took: Vec<Duration> = (0..times)
            .map(|_| {
                let started = Instant::now();
                serve.call("POST", "/api/v1/metrics", Some(&sample)).expect(201);
                started.elapsed()
            })
            .collect();
        took.sort();
        took[times * 99 / 100]
    };
    let slowdown = Slowdown::watch();
    let before = write(300);
    let reader = Holder::reader(&database, 600);
    let started = Instant::now();
    let (refused, during) = std::thread::scope(|scope| {
        let retention = scope.spawn(run);
        let mut during = Duration::ZERO;
        while !retention.is_finished() {
            during = during.max(write(100));
        }
        (retention.join().unwrap(), during)
    });
    assert!(!refused.status.success());
    assert!(started.elapsed() > Duration::from_secs(3), "it has more patience than {:?}", started.elapsed());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("transactions that look at it did not end within 3s"), "{text}");
    // The writers never queued behind it: a lock of the parent that they wait for would last seconds.
    assert!(during < slowdown.stretch(Duration::from_secs(1)), "writers waited {during:?} (before: {before:?})");
    let status = stdout(&database.dgm(&["partition", "status"]));
    // The first is on its way out, and the second waits for it: the server detaches one at a time.
    assert_eq!((status.matches(" detaching ").count(), status.matches(" expired ").count()), (1, 1), "{status}");
    drop(reader);
    let done = run();
    assert_eq!(stdout(&done).lines().count(), 2, "{done:?}");
    assert_eq!(
        database
            .sql("SELECT count(*) FROM dgm_performance_metrics WHERE measurement_timestamp < now() - interval '1 day'"),
        "1"
    );
    let status = stdout(&database.dgm(&["partition", "status"]));
    assert!(!status.contains("expired") && status.contains("horizon: samples up to"), "{status}");
    eprintln!("retention: writers' p99 {before:?} before, {during:?} while it waited, {:?} after", write(300));
}
