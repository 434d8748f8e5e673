//! Scheduled jobs: by the command line, and by two replicas of which one dies.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, parquet, setting, stdout, until};

#[test]
fn a_job_runs_alone_on_the_record_and_its_old_runs_are_forgotten() {
    let database = Database::migrated();
    database.sql(
        "INSERT INTO dgm_job_runs (job_name, instance, started_at) VALUES
            ('ensure-partitions', 'old', now() - interval '8 days'), ('rescue-leases', 'other', now() - interval '8 days')",
    );
    let run = database.dgm(&["job", "run", "ensure-partitions"]);
    assert_eq!(stdout(&run).trim(), "ensure-partitions: 4 made", "{run:?}");
    assert_eq!(stdout(&database.dgm(&["job", "run", "ensure-partitions"])).trim(), "ensure-partitions: 0 made");
    let runs = database.sql("SELECT job_name, outcome, detail FROM dgm_job_runs ORDER BY id");
    assert_eq!(runs, "rescue-leases||\nensure-partitions|success|4 made\nensure-partitions|success|0 made");

    // Another holder: exit code 2, and nothing is done or recorded.
    let key = "hashtextextended('dgm.job.rescue-leases', 0)";
    let holder = Holder::start(&database, &format!("SELECT pg_advisory_lock({key})"), 60);
    let skipped = database.dgm(&["job", "run", "rescue-leases"]);
    drop(holder);
    assert_eq!(skipped.status.code(), Some(2), "{skipped:?}");
    let unknown = database.dgm(&["job", "run", "rescue"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("rescue-leases, ensure-partitions"), "{unknown:?}");
    assert!(stdout(&database.dgm(&["job", "list"])).contains("success"));
    assert!(stdout(&database.dgm(&["doctor"])).contains("migrations   ok"));
}

#[test]
fn a_partition_that_was_removed_by_hand_is_made_again_by_a_process_that_knew_it() {
    let database = Database::migrated();
    let serve = Serve::start_with(&database, "", &[("DGM__JOBS__SCHEDULES", "ensure-partitions=* * * * * *")]);
    let count =
        || database.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass");
    until("they are made", Duration::from_secs(20), || count() == "4");
    let newest =
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass";
    let removed = database.sql(newest);
    database.sql(&format!("DROP TABLE {removed}"));
    until("it is made again", Duration::from_secs(20), || database.sql(newest) == removed);
    drop(serve);
}

#[test]
fn jobs_that_run_at_once_do_not_wait_for_each_other_in_a_small_pool() {
    let database = Database::migrated();
    let schedules = "prune-changes=* * * * * *; enforce-retention=* * * * * *; ensure-partitions=* * * * * *";
    let settings = [("DGM__DATABASE__MAX_CONNECTIONS", "2"), ("DGM__JOBS__SCHEDULES", schedules)];
    let serve = Serve::start_with(&database, "", &settings);
    let done = "SELECT count(DISTINCT job_name) FROM dgm_job_runs WHERE outcome = 'success'";
    until("each has succeeded", Duration::from_secs(30), || database.sql(done) == "4");
    assert_eq!(database.sql("SELECT count(*) FROM dgm_job_runs WHERE outcome = 'failure'"), "0");
    for pool in ["read", "lock"] {
        assert_eq!(serve.count(&format!("dgm_db_pool_timeouts_total{{pool=\"{pool}\"}}")), 0, "{pool}");
    }
}

/// Every two seconds, so that a short run sees many occurrences.
const OFTEN: &str =
    "prune-changes = */2 * * * * *; enforce-retention = */2 * * * * *; ensure-partitions = */2 * * * * *";

#[test]
fn of_two_replicas_one_runs_each_occurrence_and_takes_over_from_one_that_dies() {
    let seconds = setting("DGM_TEST_JOB_SECONDS", 12);
    let database = Database::migrated();
    let settings = [("DGM__JOBS__SCHEDULES", OFTEN), ("DGM__SAMPLES__RETENTION_PATIENCE_SECONDS", "50")];
    let mut replicas = [(); 2].map(|()| Serve::start_with(&database, "", &settings));
    std::thread::sleep(Duration::from_secs(seconds as u64 / 2));

    // A job that takes long: retention waits for a reader. Whoever is at it is killed.
    let reader = Holder::reader(&database, 60);
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '20 months')::date)");
    let at_it = "SELECT instance FROM dgm_job_runs WHERE job_name = 'enforce-retention' AND finished_at IS NULL
                 AND started_at < now() - interval '1 second'";
    let mut instance = String::new();
    until("somebody waits for the reader", Duration::from_secs(20), || {
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
    until("the other takes over", Duration::from_secs(30), || database.sql(&taken) == "1");
    let took_over = killed.elapsed();
    std::thread::sleep(Duration::from_secs(seconds as u64 / 2));

    let twice = database.sql(
        "SELECT job_name, scheduled_for, count(*) FROM dgm_job_runs WHERE outcome IS DISTINCT FROM 'lost'
         GROUP BY 1, 2 HAVING count(*) > 1",
    );
    assert_eq!(twice, "", "an occurrence was run twice");
    let lost = database.sql("SELECT job_name, count(*) FROM dgm_job_runs WHERE outcome = 'lost' GROUP BY 1");
    assert_eq!(lost, "enforce-retention|1");
    // Of the job that nothing held up, none is missing from its first run to its last.
    let gaps = database.sql(
        "SELECT count(*) FROM (SELECT scheduled_for - lag(scheduled_for) OVER (ORDER BY scheduled_for) AS gap
         FROM dgm_job_runs WHERE job_name = 'prune-changes') g WHERE gap <> interval '2 seconds'",
    );
    assert_eq!(
        gaps,
        "0",
        "{}",
        database.sql("SELECT * FROM dgm_job_runs WHERE job_name = 'prune-changes' ORDER BY id")
    );
    let count = |what: &str| survivor.count(&format!("dgm_job_runs_total{{job_name=\"{what}\"}}"));
    assert_eq!(count("enforce-retention\",outcome=\"lost"), 1);
    let recorded = database.sql(&format!(
        "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'prune-changes'
        AND outcome = 'success' AND instance LIKE '%:{}'",
        survivor.pid()
    ));
    let counted = count("prune-changes\",outcome=\"success");
    let recorded: u64 = recorded.parse().unwrap();
    // One may have ended between the two questions.
    assert!(counted.abs_diff(recorded) <= 1, "{recorded} recorded, {counted} counted");
    eprintln!("jobs: taken over {:.1} s after the kill", took_over.as_secs_f64());
}

#[test]
fn a_missed_occurrence_is_caught_up_and_counted() {
    let database = Database::migrated();
    // Hourly at :07; the last that was run is five before the latest.
    database.sql(
        "INSERT INTO dgm_job_runs (job_name, instance, scheduled_for, finished_at, outcome)
         SELECT 'ensure-partitions', 'old', date_trunc('hour', now() - interval '7 minutes') + interval '7 minutes'
            - interval '5 hours', now(), 'success'",
    );
    let minute = database.sql("SELECT extract(minute FROM now() - interval '7 minutes')");
    // In the first seconds after an occurrence it is not missed yet.
    if minute == "0" {
        std::thread::sleep(Duration::from_secs(21));
    }
    let serve = Serve::start_with(&database, "", &[]);
    let done = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'ensure-partitions' AND outcome = 'success' AND instance <> 'old'";
    until("it is caught up", Duration::from_secs(20), || database.sql(done) == "1");
    until("it is counted", Duration::from_secs(5), || {
        serve.count("dgm_job_missed_total{job_name=\"ensure-partitions\"}") == 5
    });
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(database.sql(done), "1", "once");
}

#[test]
fn retention_waits_for_a_reader_without_holding_up_writers_and_gives_up_in_time() {
    let database = Database::migrated();
    for months in [14, 15, 3] {
        database.sql(&format!(
            "SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '{months} months')::date);
             INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp)
             SELECT 's', 'm', 1, date_trunc('month', now() - interval '{months} months') + interval '1 day'"
        ));
    }
    let mut serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    serve.token = database.token("worker");
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_dgm"))
            .args(["partition", "drop"])
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
    let before = write(300);
    let reader = Holder::reader(&database, 60);
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
    assert!(during < Duration::from_secs(1), "writers waited {during:?} (before: {before:?})");
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

#[test]
fn what_cannot_be_exported_is_not_dropped_and_what_is_exported_is_all_of_it() {
    let database = Database::migrated();
    // More than one row group of the file, values of every kind.
    database.sql(
        "SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '15 months')::date);
         INSERT INTO dgm_performance_metrics
            (service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at)
         SELECT 'service ' || n % 7, CASE n % 3 WHEN 0 THEN 'größe' ELSE 'latency_seconds' END,
            CASE n % 11 WHEN 0 THEN -1e290 WHEN 1 THEN 5e-324 ELSE random() END,
            date_trunc('month', now() AT TIME ZONE 'UTC' - interval '15 months') AT TIME ZONE 'UTC'
                + n * interval '17.000001 s',
            CASE n % 2 WHEN 0 THEN 'entry ' || n END, now() - n * interval '1 microsecond'
         FROM generate_series(1, 140000) n",
    );
    let children = "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass";
    let partition = database.sql(children);
    // What an interruption between export and drop leaves: the table is still there.
    for spare in ["interrupted", "damaged"] {
        database.sql(&format!("CREATE TABLE {spare} (LIKE {partition}); INSERT INTO {spare} TABLE {partition}"));
    }
    let all = database.sql(&format!(
        "SELECT id, service_name, metric_type, encode(float8send(metric_value), 'hex'),
            (extract(epoch FROM measurement_timestamp) * 1000000)::bigint, coalesce(archive_entry_id, 'none'),
            (extract(epoch FROM created_at) * 1000000)::bigint
         FROM {partition} ORDER BY service_name, metric_type, measurement_timestamp, id"
    ));
    let folder = tempfile::tempdir().unwrap();
    let drop_to = |url: &str| {
        let mut drop = Command::new(env!("CARGO_BIN_EXE_dgm"));
        drop.args(["partition", "drop"]).env("DATABASE_URL", database.url()).env("DGM__SAMPLES__EXPORT_URL", url);
        // A server of object storage that is not there.
        drop.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_ALLOW_HTTP", "true");
        drop.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "key");
        drop.output().unwrap()
    };
    let stderr = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let status = || stdout(&database.dgm(&["partition", "status"]));

    let wrong = drop_to("exports");
    let no_url = "samples.export_url: \"exports\" is no URL (relative URL without a base): say file:///folder or s3://";
    assert!(stderr(&wrong).contains(no_url), "{wrong:?}");
    let wrong = drop_to("ftp://host/folder");
    assert!(stderr(&wrong).contains("samples.export_url: ftp: is neither file nor s3"), "{wrong:?}");
    assert!(!status().contains(" detached "), "{}", status());
    // A file where the folder should be, and nobody where the storage should be.
    std::fs::write(folder.path().join("file"), "").unwrap();
    for nowhere in [format!("file://{}/file", folder.path().display()), "s3://bucket/prefix".to_owned()] {
        let refused = drop_to(&nowhere);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(stderr(&refused).contains(&format!("{partition} is not dropped")), "{refused:?}");
        assert!(stderr(&refused).contains("its export: "), "{refused:?}");
    }
    assert!(status().contains(" detached "), "{}", status());
    assert_eq!(database.sql(&format!("SELECT count(*) FROM {partition}")), "140000");

    let (url, exports) = (format!("file://{}/exports", folder.path().display()), folder.path().join("exports"));
    let done = drop_to(&url);
    let [file] = parquet::files(&exports).try_into().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    assert_eq!(stdout(&done).trim(), format!("dropped {partition}, exported to {url}/{name}"), "{done:?}");
    assert!(!status().contains(&partition), "{}", status());
    let read: Vec<String> = parquet::samples(&file)
        .into_iter()
        .map(|sample| {
            format!(
                "{}|{}|{}|{:016x}|{}|{}|{}",
                sample.id,
                sample.service_name,
                sample.metric_type,
                sample.metric_value.to_bits(),
                sample.measurement_timestamp.timestamp_micros(),
                sample.archive_entry_id.as_deref().unwrap_or("none"),
                sample.created_at.timestamp_micros()
            )
        })
        .collect();
    assert!(read.iter().map(String::as_str).eq(all.lines()), "{} rows read", read.len());

    // What is there and whole is not written again.
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    database.sql(&format!("ALTER TABLE interrupted RENAME TO {partition}"));
    assert_eq!(stdout(&drop_to(&url)).trim(), format!("dropped {partition}, exported to {url}/{name}"));
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written);
    // What is there and not whole is neither believed nor overwritten.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1000]).unwrap();
    database.sql(&format!("ALTER TABLE damaged RENAME TO {partition}"));
    let refused = drop_to(&url);
    assert!(!refused.status.success() && stderr(&refused).contains("left alone"), "{refused:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), bytes.len() as u64 - 1000);
    assert!(status().contains(" detached "), "{}", status());
    std::fs::remove_file(&file).unwrap();
    assert!(drop_to(&url).status.success());
    assert_eq!(std::fs::metadata(&file).unwrap().len(), bytes.len() as u64, "the same rows make the same file");
}
