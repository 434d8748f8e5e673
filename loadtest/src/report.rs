//! What came of it: one line for people, one JSON document for programs.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use goose::metrics::{GooseMetrics, GooseRequestMetricAggregate, GooseRequestMetricTimingData};
use serde::Serialize;

use crate::cpu::Cpu;

/// Highest share of failed requests that a run may have and pass.
pub(crate) const MAX_ERROR_RATIO: f64 = 0.001;

/// Counts and times of a set of requests. Times run from sending to the head of the answer, in microseconds; a
/// percentile is off by at most 1/128 (the width of the histogram's buckets).
#[derive(Debug, PartialEq, Serialize)]
struct Figures {
    requests: usize,
    errors: usize,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Figures {
    fn of<'a>(aggregates: impl IntoIterator<Item = &'a GooseRequestMetricAggregate>) -> Self {
        let mut all = GooseRequestMetricTimingData::default();
        let (mut requests, mut errors) = (0, 0);
        for aggregate in aggregates {
            requests += aggregate.success_count + aggregate.fail_count;
            errors += aggregate.fail_count;
            let data = &aggregate.raw_data;
            for (&bucket, &count) in data.times_us.iter() {
                let known = all.times_us.get(&bucket).copied().unwrap_or(0);
                all.times_us.insert(bucket, known + count);
            }
            if data.counter > 0 {
                let least = if all.counter == 0 { u64::MAX } else { all.minimum_time_us };
                all.minimum_time_us = least.min(data.minimum_time_us);
            }
            all.maximum_time_us = all.maximum_time_us.max(data.maximum_time_us);
            all.counter += data.counter;
        }
        let at = |share| all.percentile_us(share);
        Self { requests, errors, p50_us: at(0.5), p95_us: at(0.95), p99_us: at(0.99), max_us: all.maximum_time_us }
    }
}

#[derive(Debug, Serialize)]
struct Route {
    /// Method and route template.
    name: String,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Serialize)]
struct Kind {
    error: String,
    count: usize,
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    host: String,
    run: String,
    entries: usize,
    users: usize,
    /// From the first client's start to the last one's end.
    elapsed_seconds: f64,
    requests_per_second: f64,
    error_ratio: f64,
    #[serde(flatten)]
    all: Figures,
    cpu: Cpu,
    /// Thresholds given with `--threshold` that did not hold.
    failed_thresholds: Vec<String>,
    routes: Vec<Route>,
    errors_by_kind: Vec<Kind>,
}

impl Report {
    /// Gathers the figures of a run of `entries` seeded entries.
    pub(crate) fn new(host: &str, run: &str, entries: usize, metrics: &GooseMetrics, cpu: Cpu) -> Self {
        let all = Figures::of(metrics.requests.values());
        let steps = metrics.history.first().zip(metrics.history.last());
        let elapsed_seconds = steps.map_or(0.0, |(first, last)| (last.timestamp - first.timestamp).as_seconds_f64());
        let mut routes: Vec<Route> = metrics
            .requests
            .iter()
            .map(|(name, aggregate)| Route { name: name.clone(), figures: Figures::of([aggregate]) })
            .collect();
        routes.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            host: host.to_owned(),
            run: run.to_owned(),
            entries,
            users: metrics.maximum_users,
            elapsed_seconds,
            requests_per_second: ratio(all.requests, elapsed_seconds),
            error_ratio: ratio(all.errors, as_f64(all.requests)),
            all,
            cpu,
            failed_thresholds: metrics.thresholds.iter().filter(|t| !t.passed).map(|t| t.rule.clone()).collect(),
            routes,
            errors_by_kind: (metrics.errors.values())
                .map(|e| Kind { error: format!("{} {}: {}", e.method, e.name, e.error), count: e.occurrences })
                .collect(),
        }
    }

    /// Why the run did not pass, if it did not.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.all.requests == 0 {
            return Some("no request was made".to_owned());
        }
        if self.error_ratio > MAX_ERROR_RATIO {
            return Some(format!(
                "{:.3} % of requests failed, over {} %",
                self.error_ratio * 100.0,
                MAX_ERROR_RATIO * 100.0
            ));
        }
        (!self.failed_thresholds.is_empty()).then(|| format!("failed: {}", self.failed_thresholds.join(", ")))
    }

    /// Writes the document, with its folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, serde_json::to_vec_pretty(self)?)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, cpu, .. } = self;
        write!(
            f,
            "{} requests, {:.0} requests/s, p50 {} ms, p95 {} ms, p99 {} ms, {} errors ({:.3} %)",
            all.requests,
            self.requests_per_second,
            millis(all.p50_us),
            millis(all.p95_us),
            millis(all.p99_us),
            all.errors,
            self.error_ratio * 100.0,
        )?;
        for (name, used) in [("loader", cpu.loader_seconds), ("server", cpu.server_seconds)] {
            used.map_or(Ok(()), |seconds| write!(f, ", {name} {seconds:.2} CPU s"))?;
        }
        Ok(())
    }
}

fn millis(us: u64) -> String {
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn ratio(count: usize, of: f64) -> f64 {
    if of > 0.0 { as_f64(count) / of } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The metrics of a run in goose's own serialised form.
    fn report(requests: &Value, thresholds: &Value) -> Report {
        let metrics: GooseMetrics = serde_json::from_value(json!({
            "hash": 0, "duration": 10, "maximum_users": 3, "total_users": 3, "transactions": [], "scenarios": [],
            "errors": {}, "hosts": [], "coordinated_omission_metrics": null, "final_metrics": true,
            "display_status_codes": true, "display_metrics": true, "requests": requests, "thresholds": thresholds,
            "history": [
                {"action": "Increasing", "timestamp": "2026-11-01T00:00:00Z", "users": 0},
                {"action": "Finished", "timestamp": "2026-11-01T00:00:10Z", "users": 0},
            ],
        }))
        .unwrap();
        let cpu = Cpu { loader_seconds: Some(1.5), server_seconds: None };
        Report::new("http://127.0.0.1:8007/", "run", 1, &metrics, cpu)
    }

    /// A route whose answers took the given times in microseconds, the first `errors` of them failures.
    fn route(times: &[(u64, usize)], errors: usize) -> Value {
        let count: usize = times.iter().map(|(_, count)| count).sum();
        let buckets: std::collections::BTreeMap<_, _> = times.iter().copied().collect();
        let (least, most) = (times[0].0, times[times.len() - 1].0);
        json!({
            "path": "/", "method": "Get", "coordinated_omission_data": null, "status_code_counts": {},
            "success_count": count - errors, "fail_count": errors, "load_test_hash": 0,
            "raw_data": {"minimum_time": 0, "maximum_time": 0, "total_time": 0, "counter": count, "times_us": buckets,
                         "minimum_time_us": least, "maximum_time_us": most, "total_time_us": 0},
        })
    }

    #[test]
    fn routes_are_added_up() {
        let report =
            report(&json!({"GET /a": route(&[(40, 900)], 0), "GET /b": route(&[(40, 60), (100, 40)], 1)}), &json!([]));
        let all = Figures { requests: 1000, errors: 1, p50_us: 40, p95_us: 40, p99_us: 100, max_us: 100 };
        assert_eq!(report.all, all);
        assert_eq!(report.fault(), None, "0.1 % is not over 0.1 %");
        let line = "1000 requests, 100 requests/s, p50 0.04 ms, p95 0.04 ms, p99 0.10 ms, 1 errors (0.100 %), loader 1.50 CPU s";
        assert_eq!(report.to_string(), line);
    }

    #[test]
    fn what_did_not_pass_is_told() {
        assert_eq!(report(&json!({}), &json!([])).fault().unwrap(), "no request was made");
        let failing = report(&json!({"GET /a": route(&[(40, 1000)], 2)}), &json!([]));
        assert_eq!(failing.fault().unwrap(), "0.200 % of requests failed, over 0.1 %");
        let slow = json!([{"rule": "p95<1us", "observed": "40us", "value": 0.04, "passed": false, "aborted": false}]);
        assert_eq!(report(&json!({"GET /a": route(&[(40, 10)], 0)}), &slow).fault().unwrap(), "failed: p95<1us");
    }
}
