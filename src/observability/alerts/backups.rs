//! What is run outside the service and reported to it (`dgm job report`): backups and restore drills. Of what was never reported
//! there is no series, so that nobody is told who backs up by another way.

use crate::observability::rule::{Alert, Severity, Team};

/// The last success, of a job that was reported at all; 0 when it never succeeded.
fn last(job: &str) -> String {
    format!("dgm_job_last_success_timestamp_seconds{{job=\"dgm\", instance=\"a\", job_name=\"{job}\"}}")
}

fn stale(name: &'static str, jobs: &'static str, patience: &str) -> Alert {
    let since = format!(
        "time() - max by (job, job_name) (dgm_job_last_success_timestamp_seconds{{job_name=~\"{jobs}\"}}) > $({patience})"
    );
    Alert::new(name, Severity::Warning, Team::Database, "dgm-database").when("5m", since)
}

pub(super) fn alerts() -> Vec<Alert> {
    vec![
        stale("DgmBackupStale", "backup|backup-files", "26h")
            .says(
                "There is no new backup ({{ $labels.job_name }}).",
                "The last one that succeeded is {{ $value | humanizeDuration }} old; there should be one a day.",
            )
            .fires("27h", &[(last("backup"), "0x1700")])
            .fires("27h", &[(last("backup-files"), "0x1700"), (last("backup"), "0x720 43200x1000")])
            .silent("27h", &[(last("backup"), "0x720 43200x1000")])
            // Who backs up by another way.
            .silent("27h", &[(last("restore-drill"), "0x1700")]),
        stale("DgmRestoreDrillStale", "restore-drill", "8d")
            .says(
                "It is not known whether the backups can be restored.",
                "The last restore that succeeded is {{ $value | humanizeDuration }} old; there should be one a week.",
            )
            .fires("200h", &[(last("restore-drill"), "0x12100")])
            .silent("200h", &[(last("restore-drill"), "0x9000 540000x3100")])
            .silent("200h", &[(last("backup"), "0x12100")]),
    ]
}
