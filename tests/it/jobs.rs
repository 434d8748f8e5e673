//! Scheduled jobs by the command line.

use std::process::Command;

use crate::support::{Database, stdout};

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
    let mut holder = Command::new("psql")
        .args(["-XAtqc", &format!("SELECT pg_advisory_lock({key}), pg_sleep(60)")])
        .arg(database.url())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while database.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == "0" {
        assert!(std::time::Instant::now() < deadline, "the holder did not get the lock");
    }
    let skipped = database.dgm(&["job", "run", "rescue-leases"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(skipped.status.code(), Some(2), "{skipped:?}");
    let unknown = database.dgm(&["job", "run", "rescue"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("rescue-leases, ensure-partitions"), "{unknown:?}");
    assert!(stdout(&database.dgm(&["job", "list"])).contains("success"));
    assert!(stdout(&database.dgm(&["doctor"])).contains("migrations   ok"));
}
