//! Scheduled jobs, by the command line and by the schedule.

use std::process::{Command, Output};

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, parquet, stdout, until};

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
    let holder = Holder::start(&database, &format!("SELECT pg_advisory_lock({key})"), 600);
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
    until("they are made", || count() == "4");
    let newest =
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass";
    let removed = database.sql(newest);
    database.sql(&format!("DROP TABLE {removed}"));
    until("it is made again", || database.sql(newest) == removed);
    drop(serve);
}

#[test]
fn jobs_that_run_at_once_do_not_wait_for_each_other_in_a_small_pool() {
    let database = Database::migrated();
    let schedules = "prune-changes=* * * * * *; enforce-retention=* * * * * *; ensure-partitions=* * * * * *";
    let settings = [("DGM__DATABASE__MAX_CONNECTIONS", "2"), ("DGM__JOBS__SCHEDULES", schedules)];
    let serve = Serve::start_with(&database, "", &settings);
    // collect-artifacts may run as well, to catch up with its scheduled run of the night.
    let done = "SELECT count(DISTINCT job_name) FROM dgm_job_runs WHERE outcome = 'success'
        AND job_name IN ('prune-changes', 'enforce-retention', 'ensure-partitions', 'rescue-leases')";
    until("each has succeeded", || database.sql(done) == "4");
    assert_eq!(database.sql("SELECT count(*) FROM dgm_job_runs WHERE outcome = 'failure'"), "0");
    for pool in ["read", "lock"] {
        assert_eq!(serve.count(&format!("dgm_db_pool_timeouts_total{{pool=\"{pool}\"}}")), 0, "{pool}");
    }
}

#[test]
fn a_missed_occurrence_is_caught_up_and_counted() {
    let database = Database::migrated();
    // Hourly, at the minute of half an hour ago: the next occurrence is far, and the latest is old enough to be missed. The
    // last that was run is five before it.
    let minute = database.sql(
        "INSERT INTO dgm_job_runs (job_name, instance, scheduled_for, finished_at, outcome)
         SELECT 'ensure-partitions', 'old', date_trunc('minute', now() - interval '30 minutes') - interval '5 hours',
             now(), 'success'
         RETURNING extract(minute FROM scheduled_for AT TIME ZONE 'UTC')",
    );
    let schedule = format!("ensure-partitions=0 {minute} * * * *; prune-changes=0 {minute} * * * *");
    let serve = Serve::start_with(&database, "", &[("DGM__JOBS__SCHEDULES", &schedule)]);
    let done = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'ensure-partitions' AND outcome = 'success' AND instance <> 'old'";
    until("it is caught up", || database.sql(done) == "1");
    until("it is counted", || serve.count("dgm_job_missed_total{job_name=\"ensure-partitions\"}") == 5);
    // Another job that is missed is found when it is looked again, after this one.
    let pruned = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'prune-changes' AND outcome = 'success'";
    until("the other has run", || database.sql(pruned) == "1");
    database.sql("DELETE FROM dgm_job_runs WHERE job_name = 'prune-changes'");
    until("it is looked again", || database.sql(pruned) == "1");
    assert_eq!(database.sql(done), "1", "once");
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
            CASE n % 2 WHEN 0 THEN 'entry ' || n END, now() - interval '25 hours' - n * interval '1 microsecond'
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
        drop.args(["partition", "drop", "--yes"])
            .env("DATABASE_URL", database.url())
            .env("DGM__SAMPLES__EXPORT_URL", url);
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
    // A file where the folder should be, a folder that is not initialised, and nobody where the storage should be.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let exports = folder.path().join("exports");
    std::fs::create_dir(&exports).unwrap();
    let at = |name: &str| format!("file://{}/{name}", folder.path().display());
    for nowhere in [at("file"), at("exports"), "s3://bucket/prefix".to_owned()] {
        let refused = drop_to(&nowhere);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(stderr(&refused).contains(&format!("{partition} is not dropped")), "{refused:?}");
        assert!(stderr(&refused).contains("its export: "), "{refused:?}");
    }
    // It is not even detached: its samples can be read.
    assert!(status().contains(" expired ") && !status().contains(" detached "), "{}", status());
    assert_eq!(database.sql("SELECT count(*) FROM dgm_performance_metrics"), "140000");

    let url = at("exports");
    let initialised = database.dgm(&["files", "init", "--purpose", "exports", &url]);
    assert!(initialised.status.success(), "{initialised:?}");
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
