//! Jobs and partitions over HTTP.

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, stdout, until};

#[test]
fn an_operator_sees_and_runs_jobs_and_sees_partitions() {
    let database = Database::migrated();
    let mut serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    serve.token = database.token("worker");
    assert_eq!(serve.call("GET", "/api/v1/admin/jobs", None).problem(), "forbidden");
    serve.token = database.token("operator");

    let ran = serve.call("POST", "/api/v1/admin/jobs/ensure-partitions/run", None).expect(200);
    assert_eq!((ran["outcome"].as_str(), ran["detail"].as_str()), (Some("success"), Some("4 made")), "{ran}");
    let jobs = serve.call("GET", "/api/v1/admin/jobs", None).expect(200);
    let job = |name: &str| jobs["items"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap().clone();
    let ensured = job("ensure-partitions");
    assert_eq!((&ensured["scope"], &ensured["last_run"]["outcome"]), (&"one".into(), &"success".into()), "{ensured}");
    assert!(ensured["last_run"]["scheduled_for"].is_null() && ensured["next_run"].is_string(), "{ensured}");
    assert!(job("collect-health")["last_run"].is_null());
    let runs = serve.call("GET", "/api/v1/admin/jobs/ensure-partitions/runs?limit=1", None).expect(200);
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs}");
    assert_eq!(runs["items"][0]["detail"], "4 made");

    // One that another process is at is refused; one that takes long goes on after the answer.
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '20 months')::date)");
    let lock = "SELECT pg_advisory_lock(hashtextextended('dgm.job.rescue-leases', 0))";
    let holder = Holder::start(&database, lock, 600);
    assert_eq!(serve.call("POST", "/api/v1/admin/jobs/rescue-leases/run", None).problem(), "illegal-state");
    drop(holder);
    let reader = Holder::reader(&database, 7);
    let expired = |partitions: &serde_json::Value| {
        partitions["items"].as_array().unwrap().iter().filter(|partition| partition["expired"] == true).count()
    };
    let partitions = serve.call("GET", "/api/v1/admin/partitions", None).expect(200);
    assert_eq!((partitions["items"].as_array().unwrap().len(), expired(&partitions)), (5, 1), "{partitions}");
    assert!(partitions["items"][0]["bounds"].as_str().unwrap().starts_with("FOR VALUES FROM"), "{partitions}");
    // Months long past get theirs with their first sample.
    assert_eq!(partitions["missing"], serde_json::json!([]), "{partitions}");
    let long = serve.call("POST", "/api/v1/admin/jobs/enforce-retention/run", None).expect(202);
    assert_eq!(long["outcome"], "running");
    until("it ends", || {
        let runs = serve.call("GET", "/api/v1/admin/jobs/enforce-retention/runs", None).expect(200);
        runs["items"][0]["detail"] == "1 dropped"
    });
    reader.finish();
    assert_eq!(expired(&serve.call("GET", "/api/v1/admin/partitions", None).expect(200)), 0);

    assert_eq!(serve.call("POST", "/api/v1/admin/jobs/nothing/run", None).problem(), "not-found");
    assert_eq!(serve.call("GET", "/api/v1/admin/jobs/rescue-leases/runs?limit=0", None).problem(), "invalid-parameter");
}

const SERIES: &str = "idx_dgm_performance_metrics_series";
/// Indexes that are there for speed and were not used; those of partitions count as one.
const UNUSED: &str = "
    SELECT coalesce(p.relname, c.relname) FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = c.oid
    LEFT JOIN pg_inherits h ON h.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = h.inhparent
    WHERE c.relnamespace = 'public'::regnamespace AND t.relname !~ '^(_sqlx|dgm_migration)'
    GROUP BY 1 HAVING NOT bool_or(i.indisunique) AND coalesce(sum(s.idx_scan), 0) = 0 ORDER BY 1";

#[test]
fn the_gauges_tell_of_dead_rows_and_of_indexes_that_nobody_uses_or_may_use() {
    let database = Database::migrated();
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', now()::date)");
    let mut serve = Serve::start_with(&database, "", &[("DGM__JOBS__ENABLED", "false")]);
    serve.token = database.token("operator");
    let gauge = |name: &str| {
        serve.call("POST", "/api/v1/admin/jobs/collect-health/run", None).expect(200);
        serve.count(name)
    };
    let samples = |name: &str| format!("{name}{{table=\"dgm_performance_metrics\"}}");
    assert_eq!(gauge("dgm_db_indexes_invalid"), 0);
    // Other statements use indexes meanwhile, and what a session has used is known a second later.
    let unused = || -> Vec<String> { database.sql(UNUSED).lines().map(str::to_owned).collect() };
    let told = || until("all unused ones are counted", || gauge("dgm_db_indexes_unused") == unused().len() as u64);
    told();
    assert!(unused().len() > 5, "of a new database most are: {:?}", unused());
    assert!(unused().contains(&SERIES.to_owned()), "{:?}", unused());
    assert!(gauge("dgm_db_xid_age") > 0);
    let empty = gauge(&samples("dgm_db_table_bytes"));

    // Rows of a partition count for the table; one index is used, another is left half built.
    database.sql(
        "INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp)
         SELECT 's', 'm', n, now() FROM generate_series(1, 3000) n;
         DELETE FROM dgm_performance_metrics WHERE metric_value <= 1000;
         SELECT count(*) FROM dgm_performance_metrics",
    );
    database.sql(
        "SET enable_seqscan = off; SET enable_bitmapscan = off;
         SELECT count(*) FROM dgm_performance_metrics WHERE service_name = 's' AND metric_type = 'm' AND measurement_timestamp < now()",
    );
    database.sql("CREATE INDEX half ON dgm_archive (status)");
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass");
    until("the statistics arrive", || {
        gauge(&samples("dgm_db_rows_dead")) == 1000 && gauge(&samples("dgm_db_rows_live")) == 2000
    });
    let read = |access: &str| {
        gauge(&format!("dgm_db_rows_read_total{{table=\"dgm_performance_metrics\",access=\"{access}\"}}"))
    };
    assert!(read("sequence") >= 3000);
    assert!(read("index") > 0);
    assert!(gauge(&samples("dgm_db_table_bytes")) > empty);
    assert_eq!(gauge("dgm_db_indexes_invalid"), 1);
    told();
    assert!(!unused().contains(&SERIES.to_owned()), "{:?}", unused());
    assert!(unused().contains(&"half".to_owned()), "the new one is not used: {:?}", unused());
    let doctor = stdout(&database.dgm(&["doctor"]));
    assert!(doctor.contains("FAIL  invalid indexes: half"), "{doctor}");
    assert!(doctor.contains("upkeep       ok") && doctor.contains("half"), "{doctor}");
}
