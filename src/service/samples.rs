//! Performance metric samples.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::archive::json;
use super::{Error, Service};
use crate::cache::{Cached, Key, Loaded, ttl};
use crate::domain::sample::{Current, Ingested, MAX_SAMPLES, NewSample, Point, Range, Window};
use crate::domain::validation::{Check, Invalid};
use crate::store;
use crate::telemetry::catalogue::labels::RejectReason;
use crate::telemetry::catalogue::samples::{SAMPLES_INGESTED, SAMPLES_REJECTED};

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

impl Service {
    /// Stores samples, all or none; durable when this answers.
    ///
    /// # Errors
    /// [`Error::Invalid`] names every sample that is refused.
    pub async fn ingest(&self, samples: Vec<NewSample>, many: bool) -> Result<Ingested, Error> {
        let now = self.now();
        let count = samples.len() as u64;
        let rejected = |error: Error| {
            SAMPLES_REJECTED.add((RejectReason::Invalid,), count);
            error
        };
        let window = Window::around(now, self.settings.retention_months, self.settings.max_future);
        let mut check = Check::default();
        check.that((1..=MAX_SAMPLES).contains(&samples.len()), "", "must have 1 to 10000 samples");
        for (index, sample) in samples.iter().enumerate().take(MAX_SAMPLES) {
            check.absorb(sample.validate(&if many { format!("/{index}") } else { String::new() }, window));
        }
        check.done().map_err(|invalid| rejected(invalid.into()))?;
        let services: BTreeSet<String> = samples.iter().map(|sample| sample.service_name.clone()).collect();
        let ingested = self.store.ingest(samples, now).await.map_err(|error| {
            if matches!(error, store::error::Error::NoPartition) {
                SAMPLES_REJECTED.add((RejectReason::NoPartition,), count);
            }
            Error::from(error)
        })?;
        SAMPLES_INGESTED.add((), ingested.accepted);
        for service in services {
            self.cache.forget(&Key::MetricsCurrent { service });
        }
        Ok(ingested)
    }

    /// The newest sample of each metric type, as finished JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a service that cannot be one.
    pub async fn current_metrics(&self, service: &str) -> Result<Cached, Error> {
        check_names(service, None)?;
        let (store, owned, since) = (self.store.clone(), service.to_owned(), self.now() - TimeDelta::days(1));
        let load = move || async move {
            let items = store.current_samples(&owned, since).await?;
            let body = json(&CurrentMetrics { service_name: owned, items })?;
            Ok::<_, Error>(Loaded::for_a_while(Cached::new(body, None, 0), ttl::METRICS_CURRENT))
        };
        let key = Key::MetricsCurrent { service: service.to_owned() };
        self.cache.get_or_load(&key, load).await.map_err(|error| (*error).clone())?.ok_or(Error::Internal)
    }

    /// The last 24 hours by the hour, as finished JSON; up to a minute old.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a service that cannot be one.
    pub async fn metrics_trend(&self, service: &str) -> Result<Cached, Error> {
        check_names(service, None)?;
        // Whole hours, so that a point keeps its place; the last is the hour that runs.
        let step = TimeDelta::hours(1);
        let to = aligned(self.now(), step) + step;
        let range = Range { from: to - TimeDelta::days(1), to, step };
        let (store, owned) = (self.store.clone(), service.to_owned());
        let load = move || async move {
            let mut series: BTreeMap<String, Vec<Point>> = BTreeMap::new();
            for (metric_type, point) in store.sample_trend(&owned, range).await? {
                series.entry(metric_type).or_default().push(point);
            }
            let body = json(&Trend { service_name: owned, step_seconds: step.num_seconds(), series })?;
            Ok::<_, Error>(Loaded::for_a_while(Cached::new(body, None, 0), ttl::METRICS_TREND))
        };
        let key = Key::MetricsTrend { service: service.to_owned() };
        self.cache.get_or_load(&key, load).await.map_err(|error| (*error).clone())?.ok_or(Error::Internal)
    }

    /// Aggregates of one series; the last hour by the minute unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a range without sense or with too many points.
    pub async fn metric_range(
        &self,
        service: &str,
        metric_type: &str,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        step: Option<TimeDelta>,
    ) -> Result<Series, Error> {
        check_names(service, Some(metric_type))?;
        let to = to.unwrap_or_else(|| self.now());
        let step = step.unwrap_or(TimeDelta::minutes(1));
        let from = from.unwrap_or_else(|| aligned(to - TimeDelta::hours(1), step));
        let range = Range { from, to, step };
        range.validate()?;
        let points = self.store.sample_range(service, metric_type, range).await?;
        Ok(Series {
            service_name: service.to_owned(),
            metric_type: metric_type.to_owned(),
            from,
            to,
            step_seconds: range.step.num_seconds(),
            points,
        })
    }
}

/// The start of the step that a time lies in, counted from 1970.
fn aligned(at: DateTime<Utc>, step: TimeDelta) -> DateTime<Utc> {
    at.duration_trunc(step).unwrap_or(at)
}

fn check_names(service: &str, metric_type: Option<&str>) -> Result<(), Invalid> {
    let mut check = Check::default();
    check.name("service", service);
    if let Some(metric_type) = metric_type {
        check.name("metric_type", metric_type);
    }
    check.done()
}
