//! The queue of improvements, and jobs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::series::History;
use super::{Mark, Note, WINDOW, Watched};
use crate::telemetry::catalogue::Described as _;
use crate::telemetry::catalogue::jobs::{JOB_INTERVAL, JOB_LAST_SUCCESS, JOB_RUNNING, JOB_RUNS};
use crate::telemetry::catalogue::queue::{
    IMPROVEMENTS, IMPROVEMENTS_CLAIMED, IMPROVEMENTS_FINISHED, LEASES_RESCUED, OLDEST_QUEUED,
};

#[derive(Debug, Serialize)]
pub(super) struct Queue {
    queued: Option<f64>,
    running: Option<f64>,
    /// How long the oldest has waited; 0 when none waits.
    oldest: Option<f64>,
    claimed: Option<f64>,
    completed: Option<f64>,
    failed: Option<f64>,
    cancelled: Option<f64>,
    /// By what became of the improvement.
    rescued: BTreeMap<String, f64>,
}

impl Queue {
    pub(super) fn of(history: &History, now: f64) -> Self {
        let waiting = |state: &str| history.sum(IMPROVEMENTS.metric().name, |labels| labels.get("state") == state);
        let finished = |outcome: &str| {
            history.rate(IMPROVEMENTS_FINISHED.metric().name, WINDOW, |labels| labels.get("outcome") == outcome)
        };
        let rescued = history.values(LEASES_RESCUED.metric().name);
        Self {
            queued: waiting("queued"),
            running: waiting("running"),
            oldest: history
                .value(OLDEST_QUEUED.metric().name)
                .map(|since| if since > 0.0 { (now - since).max(0.0) } else { 0.0 }),
            claimed: history.rate(IMPROVEMENTS_CLAIMED.metric().name, WINDOW, |_| true),
            completed: finished("completed"),
            failed: finished("failed"),
            cancelled: finished("cancelled"),
            rescued: rescued.map(|(labels, count)| (labels.get("outcome").to_owned(), count)).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Job {
    pub(super) name: String,
    /// Seconds since the last success.
    since: Option<f64>,
    interval: Option<f64>,
    /// By outcome, those above 0.
    runs: BTreeMap<String, f64>,
    state: Note,
    #[serde(skip)]
    pub(super) stale: bool,
}

/// The jobs that this process knows, by name.
pub(super) fn jobs(watched: &Watched, now: f64) -> Vec<Job> {
    let history = &watched.history;
    let [runs, success] = [JOB_RUNS.metric().name, JOB_LAST_SUCCESS.metric().name];
    let known = history.values(runs).chain(history.values(success));
    let names: BTreeSet<&str> = known.map(|(labels, _)| labels.get("job_name")).collect();
    let job = |name: &str| {
        let of = |metric| history.sum(metric, |labels| labels.get("job_name") == name);
        let since = of(success).filter(|success| *success > 0.0).map(|success| now - success);
        let runs = history.values(runs).filter(|(labels, count)| labels.get("job_name") == name && *count > 0.0);
        let runs: BTreeMap<_, _> = runs.map(|(labels, count)| (labels.get("outcome").to_owned(), count)).collect();
        let seen = watched.elsewhere.get(name).copied().unwrap_or(watched.since);
        let facts = Facts {
            since,
            interval: of(JOB_INTERVAL.metric().name),
            skipped: runs.contains_key("skipped"),
            failed: runs.contains_key("failure") || runs.contains_key("timeout"),
            watched: history.latest().map_or(0.0, |latest| (latest - seen).as_secs_f64()),
            running: of(JOB_RUNNING.metric().name).is_some_and(|running| running > 0.0),
        };
        let (note, stale) = facts.state();
        Job { name: name.to_owned(), since, interval: facts.interval, runs, state: note, stale }
    };
    names.into_iter().map(job).collect()
}

/// What the state of a job follows from.
#[derive(Debug, Clone, Copy)]
struct Facts {
    since: Option<f64>,
    interval: Option<f64>,
    skipped: bool,
    failed: bool,
    /// For how long no other replica was seen at it.
    watched: f64,
    running: bool,
}

impl Facts {
    /// The state, and whether the job is stale: two of its intervals and a minute passed since its last success.
    fn state(self) -> (Note, bool) {
        let patience = self.interval.map_or(f64::INFINITY, |interval| 2.0 * interval + 60.0);
        let late = self.since.is_some_and(|since| since > patience);
        // Others may have done what was skipped here: it is stale when none was seen at it for as long.
        let stale = late && (!self.skipped || self.watched > patience);
        let note = match (self.since, self.interval) {
            _ if self.running => Note::new(None, "▶ running now"),
            (None, _) if self.failed => Note::new(Some(Mark::Bad), "not once done here"),
            (None, _) => Note::new(None, "not yet here"),
            _ if stale => Note::new(Some(Mark::Warn), "stale"),
            _ if late => Note::new(None, "by another replica"),
            (_, None) => Note::new(None, ""),
            (_, Some(_)) => Note::new(Some(Mark::Ok), "in time"),
        };
        (note, stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_jobs() {
        let calm = Facts {
            since: Some(10.0),
            interval: Some(15.0),
            skipped: false,
            failed: false,
            watched: 5.0,
            running: false,
        };
        let (late, skipped) = (Facts { since: Some(91.0), ..calm }, Facts { since: Some(91.0), skipped: true, ..calm });
        let in_time = (Note::new(Some(Mark::Ok), "in time"), false);
        let stale = (Note::new(Some(Mark::Warn), "stale"), true);
        let plain = |text| (Note::new(None, text), false);
        assert_eq!(calm.state(), in_time);
        assert_eq!(Facts { since: Some(90.0), ..calm }.state(), in_time);
        assert_eq!(late.state(), stale);
        assert_eq!(skipped.state(), plain("by another replica"));
        assert_eq!(Facts { watched: 91.0, ..skipped }.state(), stale);
        assert_eq!(Facts { running: true, ..late }.state(), (Note::new(None, "▶ running now"), true));
        assert_eq!(Facts { since: None, ..calm }.state(), plain("not yet here"));
        let failed = Facts { since: None, failed: true, ..calm };
        assert_eq!(failed.state(), (Note::new(Some(Mark::Bad), "not once done here"), false));
        assert_eq!(Facts { since: Some(9e9), interval: None, ..calm }.state(), plain(""));
    }
}
