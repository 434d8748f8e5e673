//! The verdict: from what is known to a state and reasons. The words hold no figure that changes by the second, since a
//! screen reader reads the verdict whenever they change.

use serde::Serialize;

use super::limits::{FAILING, FEED_AGE, HORIZON_DAYS, MIN_EVENTS, XID_AGE};
use super::{Document, milliseconds, percent};
use crate::observability::objectives::{ERRORS, LATENCY_SECONDS};

/// Whether the process can serve.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// The newest migration of the database, if it answers.
    pub schema_version: Option<i64>,
    /// That its schema is newer than this program.
    pub newer_schema: Option<String>,
    /// Why it cannot.
    pub unready: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Ok,
    Degraded,
    Failing,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    state: State,
    /// The gravest first.
    reasons: Vec<String>,
    schema_version: Option<i64>,
}

/// What the verdict follows from.
#[derive(Debug, Clone, Default)]
struct Facts {
    requests: Option<f64>,
    errors: Option<f64>,
    p95: Option<f64>,
    redis_up: Option<bool>,
    feed_age: Option<f64>,
    horizon_days: Option<f64>,
    stale: Vec<String>,
    xid_age: Option<f64>,
    newer_schema: Option<String>,
    unready: Option<String>,
}

impl Verdict {
    pub(super) fn of(document: &Document, readiness: &Readiness) -> Self {
        let late = document.jobs.iter().filter(|job| job.stale).map(|job| job.name.clone());
        let facts = Facts {
            requests: document.signals.errors.requests,
            errors: document.signals.errors.share,
            p95: document.signals.latency.p95,
            redis_up: document.cache.redis_up,
            feed_age: document.cache.feed_age,
            horizon_days: document.partitions.horizon_days,
            stale: late.collect(),
            xid_age: document.database.xid_age,
            newer_schema: readiness.newer_schema.clone(),
            unready: readiness.unready.clone(),
        };
        let (state, reasons) = facts.judge();
        Self { state, reasons, schema_version: readiness.schema_version }
    }
}

impl Facts {
    fn judge(&self) -> (State, Vec<String>) {
        let enough = self.requests.is_some_and(|requests| requests >= MIN_EVENTS);
        let above = |figure: Option<f64>, limit: f64| figure.is_some_and(|figure| figure > limit);
        let many_errors = enough && above(self.errors, FAILING);
        let failing = [
            self.unready.as_ref().map(|why| format!("Not ready: {why}.")),
            many_errors.then(|| format!("More than {} of requests fail.", percent(FAILING))),
        ];
        let jobs = if self.stale.len() > 1 { "jobs" } else { "job" };
        let degraded = [
            (self.redis_up == Some(false))
                .then(|| "Redis does not answer: reads are slower, and still correct.".to_owned()),
            above(self.feed_age, FEED_AGE)
                .then(|| "The change feed is not confirmed: the cache is passed by.".to_owned()),
            (above(self.errors, ERRORS) && !many_errors)
                .then(|| format!("More than {} of requests fail.", percent(ERRORS))),
            (above(self.p95, LATENCY_SECONDS) && enough)
                .then(|| format!("The p95 latency is above {}.", milliseconds(LATENCY_SECONDS))),
            self.horizon_days
                .is_some_and(|days| days < HORIZON_DAYS)
                .then(|| format!("Partitions are made for less than {HORIZON_DAYS} days ahead.")),
            (!self.stale.is_empty()).then(|| format!("No success in time of {jobs} {}.", self.stale.join(", "))),
            above(self.xid_age, XID_AGE)
                .then(|| "VACUUM does not freeze: more than a billion transactions are open to wraparound.".to_owned()),
            self.newer_schema.as_ref().map(|newer| format!("The schema is newer: {newer}.")),
        ];
        let state = if failing.iter().any(Option::is_some) {
            State::Failing
        } else if degraded.iter().any(Option::is_some) {
            State::Degraded
        } else {
            State::Ok
        };
        (state, failing.into_iter().chain(degraded).flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_reasons() {
        let calm = Facts {
            requests: Some(1000.0),
            errors: Some(0.0),
            p95: Some(0.01),
            redis_up: Some(true),
            feed_age: Some(1.0),
            horizon_days: Some(90.0),
            xid_age: Some(5.0),
            ..Facts::default()
        };
        let judged = |change: &dyn Fn(&mut Facts)| {
            let mut facts = calm.clone();
            change(&mut facts);
            facts.judge()
        };
        let state = |change: &dyn Fn(&mut Facts)| judged(change).0;
        assert_eq!(calm.judge(), (State::Ok, vec![]));
        assert_eq!(Facts::default().judge(), (State::Ok, vec![]));
        assert_eq!(state(&|f| f.errors = Some(0.001)), State::Ok);
        assert_eq!(state(&|f| f.errors = Some(0.002)), State::Degraded);
        assert_eq!(
            judged(&|f| f.errors = Some(0.06)),
            (State::Failing, vec!["More than 5 % of requests fail.".to_owned()])
        );
        assert_eq!(state(&|f| (f.errors, f.requests) = (Some(0.06), Some(3.0))), State::Degraded);
        assert_eq!(state(&|f| f.p95 = Some(0.2)), State::Degraded);
        assert_eq!(state(&|f| (f.p95, f.requests) = (Some(0.2), Some(3.0))), State::Ok);
        assert_eq!(state(&|f| f.horizon_days = Some(27.0)), State::Degraded);
        assert_eq!(state(&|f| f.horizon_days = Some(-1.0)), State::Degraded);
        assert_eq!(state(&|f| f.redis_up = Some(false)), State::Degraded);
        assert_eq!(state(&|f| f.feed_age = Some(5.0)), State::Degraded);
        assert_eq!(state(&|f| f.xid_age = Some(2e9)), State::Degraded);
        let reasons = judged(&|f| f.stale = vec!["a".to_owned(), "b".to_owned()]).1;
        assert_eq!(reasons, ["No success in time of jobs a, b."]);
        let (state, reasons) =
            judged(&|f| (f.unready, f.redis_up, f.errors) = (Some("why".to_owned()), Some(false), Some(0.002)));
        assert_eq!(state, State::Failing);
        let expected = [
            "Not ready: why.",
            "Redis does not answer: reads are slower, and still correct.",
            "More than 0.1 % of requests fail.",
        ];
        assert_eq!(reasons, expected);
    }
}
