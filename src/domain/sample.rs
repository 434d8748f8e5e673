//! Performance metric samples.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::time;
use super::validation::{Check, Invalid};

/// Most samples of one request.
pub const MAX_SAMPLES: usize = 10_000;
/// Most points of one range answer, as Prometheus has it.
pub const MAX_POINTS: i64 = 11_000;
/// Greatest magnitude of a value: sums over a partition must stay finite.
const MAX_VALUE: f64 = 1e290;
/// Words that stand in the place of a metric type in the API's paths.
const RESERVED: [&str; 2] = ["current", "trend"];

/// One measurement to be stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSample {
    /// Makes a retry harmless: a sample with the same service, id and time is stored once. Needs
    /// `measurement_timestamp`.
    pub id: Option<Uuid>,
    /// The agent (service) that was measured.
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub service_name: String,
    /// What was measured; include the unit (`latency_seconds`).
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub metric_type: String,
    /// The value.
    #[schema(minimum = -1e290, maximum = 1e290)]
    pub metric_value: f64,
    /// When it was measured; now when absent.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    pub measurement_timestamp: Option<DateTime<Utc>>,
    /// The archive entry that was measured; it need not exist.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub archive_entry_id: Option<String>,
}

/// A measurement as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With service and time its key.
    pub id: Uuid,
    /// The agent (service) that was measured.
    pub service_name: String,
    /// What was measured.
    pub metric_type: String,
    /// The value.
    pub metric_value: f64,
    /// When it was measured.
    pub measurement_timestamp: DateTime<Utc>,
    /// The archive entry that was measured.
    pub archive_entry_id: Option<String>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// The times that are taken in.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The oldest.
    pub from: DateTime<Utc>,
    /// The newest.
    pub to: DateTime<Utc>,
}

impl Window {
    /// From `retention_months` ago to `future` ahead (clocks of workers differ a little).
    #[must_use]
    pub fn around(now: DateTime<Utc>, retention_months: u32, future: TimeDelta) -> Self {
        Self { from: time::months_before(now, retention_months), to: time::plus(now, future) }
    }
}

impl NewSample {
    /// Checks every field; `within` is the pointer of the sample in its body.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self, within: &str, window: Window) -> Result<(), Invalid> {
        let mut check = Check::within(within);
        check_fields(
            &mut check,
            (&self.service_name, &self.metric_type, self.metric_value, self.archive_entry_id.as_deref()),
        );
        let timed = self.id.is_none() || self.measurement_timestamp.is_some();
        check.that(timed, "measurement_timestamp", "must be given with an id, or a retry would not be recognised");
        let within_window = self.measurement_timestamp.is_none_or(|at| (window.from..=window.to).contains(&at));
        if !within_window {
            let window = format!("must lie between {} and {}", window.from.to_rfc3339(), window.to.to_rfc3339());
            check.that(false, "measurement_timestamp", window);
        }
        check.done()
    }
}

impl Sample {
    /// Checks what [`NewSample::validate`] checks, apart from the time: an exported sample is older than what is taken in.
    ///
    /// # Errors
    /// Every fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check_fields(
            &mut check,
            (&self.service_name, &self.metric_type, self.metric_value, self.archive_entry_id.as_deref()),
        );
        check.done()
    }
}

fn check_fields(check: &mut Check, (service, metric, value, entry): (&str, &str, f64, Option<&str>)) {
    check.name("service_name", service);
    check.name("metric_type", metric);
    check.that(!RESERVED.contains(&metric), "metric_type", "is a word of the API's own");
    check.that(value.abs() <= MAX_VALUE, "metric_value", "must lie in -1e290..1e290");
    if let Some(entry) = entry {
        check.id("archive_entry_id", entry);
    }
}

/// What became of the samples of a request; it is sent after they were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ingested {
    /// Stored now.
    pub accepted: u64,
    /// Known by their id already.
    pub duplicates: u64,
}

/// The newest sample of a metric type.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Current {
    /// What was measured.
    pub metric_type: String,
    /// The value.
    pub metric_value: f64,
    /// When.
    pub measurement_timestamp: DateTime<Utc>,
    /// The archive entry that was measured.
    pub archive_entry_id: Option<String>,
}

/// A step of a range: figures over the samples in `[timestamp, timestamp + step)`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// The step's start.
    pub timestamp: DateTime<Utc>,
    /// Number of samples; steps without any are left out.
    pub count: i64,
    /// Mean.
    pub avg: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Median, interpolated.
    pub p50: f64,
    /// 95th percentile, interpolated.
    pub p95: f64,
    /// 99th percentile, interpolated.
    pub p99: f64,
}

/// The newest sample of each metric type of a service.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrentMetrics {
    /// The service.
    pub service_name: String,
    /// By metric type; none older than 24 hours.
    pub items: Vec<Current>,
}

/// The last 24 hours of a service, by the hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trend {
    /// The service.
    pub service_name: String,
    /// Width of a step, in seconds.
    pub step_seconds: i64,
    /// The points of each metric type.
    pub series: BTreeMap<String, Vec<Point>>,
}

/// One series over a range.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// The service.
    pub service_name: String,
    /// What was measured.
    pub metric_type: String,
    /// From, inclusive.
    pub from: DateTime<Utc>,
    /// To, exclusive.
    pub to: DateTime<Utc>,
    /// Width of a step, in seconds.
    pub step_seconds: i64,
    /// The steps that hold samples.
    pub points: Vec<Point>,
}

/// A range to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// From, inclusive.
    pub from: DateTime<Utc>,
    /// To, exclusive.
    pub to: DateTime<Utc>,
    /// Width of a step.
    pub step: TimeDelta,
}

impl Range {
    /// Checks that the range has a sane number of points.
    ///
    /// # Errors
    /// [`Invalid`] names what is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.that(self.from < self.to, "from", "must lie before `to`");
        check.that(self.step >= TimeDelta::seconds(1), "step", "must be a second or more");
        let points = (self.to - self.from).num_seconds() / self.step.num_seconds().max(1);
        check.that(points <= MAX_POINTS, "step", format!("gives {points} points; at most {MAX_POINTS} are answered"));
        check.done()
    }
}
