//! What repeats the table of jobs has what its rows say.

use std::time::Duration;

use chrono::Utc;
use dgm_service::http::define_labels;
use dgm_service::jobs::{JOBS, Schedule, Scope};
use dgm_service::telemetry::catalogue::Label as _;
use dgm_service::telemetry::catalogue::jobs::Job;

/// `90 s`, `5.5 min`, `2 h 5 min`, as the runbook writes them.
fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 60 => format!("{seconds} s"),
        seconds if seconds < 3600 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds if seconds < 3600 => format!("{:.1} min", time.as_secs_f64() / 60.0),
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[test]
fn the_label_of_jobs_has_their_names() {
    define_labels();
    assert_eq!(Job::values(), JOBS.iter().map(|job| job.name).collect::<Vec<_>>());
}

#[test]
fn the_runbook_of_stale_jobs_has_a_row_for_each() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/alerts/runbooks/DgmJobStale.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = JOBS
        .iter()
        .map(|job| {
            let interval = Schedule::parse(job.schedule).unwrap().interval(Utc::now()).unwrap().to_std().unwrap();
            let who = if job.scope == Scope::Each { "every process" } else { "one of all" };
            // The condition of the alert: two intervals and five minutes.
            let stale = interval * 2 + Duration::from_mins(5);
            let [interval, limit, stale] = [interval, job.timeout, stale].map(words);
            format!("| `{}` | {interval} | {who} | {limit} | {stale} |", job.name)
        })
        .collect();
    let (mut rows, mut wanted): (Vec<&str>, Vec<&str>) = (rows, expected.iter().map(String::as_str).collect());
    rows.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(rows, wanted);
}
