//! Jobs that run outside the service and report to it.

use crate::support::serve::Serve;
use crate::support::{Database, stdout, until};

#[test]
fn what_is_reported_is_told_by_every_replica_and_is_no_job_of_the_service() {
    let database = Database::migrated();
    let often = [("DGM__JOBS__SCHEDULES", "collect-health=* * * * * *")];
    let token = database.token("operator");
    let replicas = [(); 2].map(|()| {
        let mut serve = Serve::start_with(&database, "", &often);
        serve.token.clone_from(&token);
        serve
    });
    let last = |serve: &Serve, job: &str| {
        serve.metric(&format!("dgm_job_last_success_timestamp_seconds{{job_name=\"{job}\"}}"))
    };
    let report = |job: &str, started: &str, outcome: &str, details: &str| {
        database.dgm(&["job", "report", job, "--started", started, "--outcome", outcome, "--details", details])
    };
    let told = |what: &str, expected: Option<f64>| {
        until(what, || replicas.iter().all(|serve| last(serve, "backup") == expected));
    };
    until("health is collected", || last(&replicas[0], "collect-health").is_some());
    assert_eq!(last(&replicas[0], "backup"), None, "whoever has no backups by this way is told nothing");

    // Reports of the last months stay, older ones go.
    database.sql(
        "INSERT INTO dgm_job_runs (job_name, instance, started_at, finished_at, outcome)
         SELECT 'backup', 'old', now() - days * interval '1 day', now() - days * interval '1 day', 'failure'
         FROM unnest(ARRAY[30, 101]) days",
    );
    assert!(report("backup", "2026-11-25T02:00:00Z", "failed", "no room").status.success());
    told("a job that never succeeded", Some(0.0));
    let done = report("backup", "2026-11-25T03:00:00Z", "ok", "20261125-030000F");
    assert_eq!(stdout(&done).trim(), "backup: success since 2026-11-25 03:00:00 UTC", "{done:?}");
    let at = database.sql(
        "SELECT extract(epoch FROM max(finished_at))::bigint FROM dgm_job_runs WHERE outcome = 'success'
        AND job_name = 'backup'",
    );
    let at: f64 = at.parse().unwrap();
    until("its success", || {
        replicas.iter().all(|serve| last(serve, "backup").is_some_and(|told| (told - at).abs() <= 1.0))
    });
    assert!(report("backup", "2026-11-26T02:00:00Z", "failure", "").status.success());
    let runs = database
        .sql("SELECT instance = 'old', outcome, detail FROM dgm_job_runs WHERE job_name = 'backup' ORDER BY id");
    assert_eq!(runs, "t|failure|\nf|failure|no room\nf|success|20261125-030000F\nf|failure|");
    assert!(last(&replicas[0], "backup").is_some_and(|told| told >= at - 1.0), "a failure takes nothing back");
    assert_eq!(last(&replicas[0], "restore-drill"), None);
    assert!(!replicas[0].metrics().contains("dgm_job_runs_total{job_name=\"backup\""), "it is not run here");

    let told = stdout(&database.dgm(&["job", "list"]));
    let line = told.lines().find(|line| line.starts_with("backup ")).unwrap();
    assert!(line.contains("reported") && line.contains("2026-11-26T02:00:00Z failure"), "{line}");
    let jobs = replicas[0].call("GET", "/api/v1/admin/jobs", None).expect(200);
    let drill = jobs["items"].as_array().unwrap().iter().find(|job| job["name"] == "restore-drill").unwrap();
    assert_eq!((drill["scope"].as_str(), &drill["last_run"]), (Some("outside"), &serde_json::Value::Null));
    let runs = replicas[0].call("GET", "/api/v1/admin/jobs/backup/runs?limit=1", None).expect(200);
    assert_eq!(runs["items"][0]["started_at"], "2026-11-26T02:00:00Z");
    assert_eq!(replicas[0].call("POST", "/api/v1/admin/jobs/backup/run", None).problem(), "not-found");

    let stderr = |output: std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let unknown = stderr(report("rescue-leases", "2026-11-25T02:00:00Z", "ok", ""));
    assert!(
        unknown.contains("no job \"rescue-leases\" that is reported: backup, backup-files, restore-drill"),
        "{unknown}"
    );
    let here = stderr(database.dgm(&["job", "run", "backup"]));
    assert!(here.contains("backup is run outside the service"), "{here}");
}
