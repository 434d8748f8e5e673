//! Performance metric samples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use super::error::Error;
use super::render::json;
use super::settings::SampleWindow;
use crate::cache::{Cache, Cached, Key, Loaded, ttl};
use crate::db;
use crate::domain::clock::Clock;
use crate::domain::rendered::Rendered;
use crate::domain::sample::{CurrentMetrics, Ingested, MAX_SAMPLES, NewSample, Point, Range, Series, Trend};
use crate::domain::validation::{Check, Invalid};
use crate::store::samples::SampleStore;
use crate::telemetry::catalogue::labels::RejectReason;
use crate::telemetry::catalogue::samples::{SAMPLES_INGESTED, SAMPLES_REJECTED};

/// Use cases of samples; cheap to clone.
#[derive(Debug, Clone)]
pub struct SampleService {
    samples: SampleStore,
    cache: Cache,
    clock: Arc<dyn Clock>,
    window: SampleWindow,
}

impl SampleService {
    pub(super) fn new(samples: SampleStore, cache: Cache, clock: Arc<dyn Clock>, window: SampleWindow) -> Self {
        Self { samples, cache, clock, window }
    }

    /// Stores samples, all or none; durable when this answers.
    ///
    /// # Errors
    /// [`Error::Invalid`] names every sample that is refused.
    pub async fn accept(&self, samples: Vec<NewSample>, many: bool) -> Result<Ingested, Error> {
        if self.clock.ahead().is_none() {
            // The window and the time of samples without one are the database's.
            self.clock.read().await?;
        }
        let now = self.clock.timestamp();
        let count = samples.len() as u64;
        let rejected = |error: Error| {
            SAMPLES_REJECTED.add((RejectReason::Invalid,), count);
            error
        };
        let window = self.window.around(now);
        let mut check = Check::default();
        check.that((1..=MAX_SAMPLES).contains(&samples.len()), "", "must have 1 to 10000 samples");
        for (index, sample) in samples.iter().enumerate().take(MAX_SAMPLES) {
            check.absorb(sample.validate(&if many { format!("/{index}") } else { String::new() }, window));
        }
        check.done().map_err(|invalid| rejected(invalid.into()))?;
        let services: BTreeSet<String> = samples.iter().map(|sample| sample.service_name.clone()).collect();
        let ingested = self.samples.store(samples, now).await.map_err(|error| {
            if matches!(error, db::Error::NoPartition) {
                SAMPLES_REJECTED.add((RejectReason::NoPartition,), count);
            }
            Error::from(error)
        })?;
        SAMPLES_INGESTED.add((), ingested.accepted);
        for service in services {
            self.cache.drop_local(&Key::MetricsCurrent { service });
        }
        Ok(ingested)
    }

    /// The newest sample of each metric type, as rendered JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a service that cannot be one.
    pub async fn current(&self, service: &str) -> Result<Rendered, Error> {
        check_names(service, None)?;
        let (store, owned, since) =
            (self.samples.clone(), service.to_owned(), self.clock.timestamp() - TimeDelta::days(1));
        let load = move || async move {
            let items = store.newest(&owned, since).await?;
            let body = json(&CurrentMetrics { service_name: owned, items })?;
            Ok::<_, Error>(Loaded::for_a_while(Cached::new(body, None, 0), ttl::METRICS_CURRENT))
        };
        let key = Key::MetricsCurrent { service: service.to_owned() };
        let found = self.cache.get_or_load(&key, load).await.map_err(|error| (*error).clone())?;
        found.map(Rendered::from).ok_or(Error::Internal)
    }

    /// The last 24 hours by the hour, as rendered JSON; up to a minute old.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a service that cannot be one.
    pub async fn trend(&self, service: &str) -> Result<Rendered, Error> {
        check_names(service, None)?;
        // Whole hours, so that a point keeps its position; the last one is the current hour.
        let step = TimeDelta::hours(1);
        let to = aligned(self.clock.timestamp(), step) + step;
        let range = Range { from: to - TimeDelta::days(1), to, step };
        let (store, owned) = (self.samples.clone(), service.to_owned());
        let load = move || async move {
            let mut series: BTreeMap<String, Vec<Point>> = BTreeMap::new();
            for (metric_type, point) in store.trend(&owned, range).await? {
                series.entry(metric_type).or_default().push(point);
            }
            let body = json(&Trend { service_name: owned, step_seconds: step.num_seconds(), series })?;
            Ok::<_, Error>(Loaded::for_a_while(Cached::new(body, None, 0), ttl::METRICS_TREND))
        };
        let key = Key::MetricsTrend { service: service.to_owned() };
        let found = self.cache.get_or_load(&key, load).await.map_err(|error| (*error).clone())?;
        found.map(Rendered::from).ok_or(Error::Internal)
    }

    /// Aggregates of one series; the last hour by the minute unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a range that is empty or has too many points.
    pub async fn range(
        &self,
        service: &str,
        metric_type: &str,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        step: Option<TimeDelta>,
    ) -> Result<Series, Error> {
        check_names(service, Some(metric_type))?;
        let to = to.unwrap_or_else(|| self.clock.timestamp());
        let step = step.unwrap_or(TimeDelta::minutes(1));
        let from = from.unwrap_or_else(|| aligned(to - TimeDelta::hours(1), step));
        let range = Range { from, to, step };
        range.validate()?;
        let points = self.samples.range(service, metric_type, range).await?;
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
