//! What PostgreSQL and Redis tell, against what is done to them.
#![allow(clippy::float_cmp, reason = "whole numbers are exact")]

mod pools;
mod postgres;
mod redis;
mod refusals;

use crate::support::serve::Serve;
use crate::support::{Database, until};

/// A service whose collect-health runs when it is asked to, as an operator.
struct Watched(Serve);

impl Watched {
    fn start(database: &Database, redis: &str, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = [("DGM__JOBS__ENABLED", "false")].into_iter().chain(settings.iter().copied()).collect();
        let mut serve = Serve::start_with(database, redis, &settings);
        serve.token = database.token("operator");
        let watched = Self(serve);
        // What is counted is counted from here on.
        watched.collect();
        watched
    }

    fn collect(&self) {
        let ran = self.0.call("POST", "/api/v1/admin/jobs/collect-health/run", None).expect(200);
        assert_eq!(ran["outcome"], "success", "{ran}");
    }

    /// Collects until a run fails; one that takes long goes on after the answer.
    fn until_failed(&self) {
        let runs = "dgm_job_runs_total{job_name=\"collect-health\",outcome=\"failure\"} ";
        let before = self.0.count(runs);
        self.0.call("POST", "/api/v1/admin/jobs/collect-health/run", None);
        until("a run fails", || self.0.count(runs) > before);
    }

    /// The value of a series now.
    fn now(&self, series: &str) -> f64 {
        self.collect();
        self.last(series)
    }

    /// The value that was published last.
    fn last(&self, series: &str) -> f64 {
        self.0.metric(&format!("{series} ")).unwrap_or_else(|| panic!("no {series}"))
    }

    /// Collects until a series has a value that will do.
    fn until(&self, series: &str, will_do: impl Fn(f64) -> bool) {
        until(series, || will_do(self.now(series)));
    }
}
