//! Performance samples: one a request, and looks at them as a dashboard has them.

use chrono::{TimeDelta, Utc};
use rand::RngExt as _;
use serde_json::json;

use crate::caller::{Caller, Failure};
use crate::operation::Operation;
use crate::plan::{METRIC_TYPES, rfc3339};

pub(super) async fn measure<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let identity = caller.identity()?;
    let metric_type = METRIC_TYPES[identity.rng.random_range(0..METRIC_TYPES.len())];
    let value = identity.rng.random_range(0.0..1000.0);
    let body = json!({
        "service_name": identity.service(),
        "metric_type": metric_type,
        "metric_value": value,
        "measurement_timestamp": rfc3339(Utc::now()),
    });
    caller.post(Operation::Ingest, "/api/v1/metrics", &body).await?;
    Ok(())
}

pub(super) async fn current<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let path = format!("/api/v1/metrics/{}/current", caller.identity()?.service());
    caller.get(Operation::Current, &path).await?;
    Ok(())
}

pub(super) async fn range<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let identity = caller.identity()?;
    let metric_type = METRIC_TYPES[identity.rng.random_range(0..METRIC_TYPES.len())];
    let from = Utc::now() - TimeDelta::hours(1);
    let path = format!("/api/v1/metrics/{}/{metric_type}?from={}&step=60s", identity.service(), rfc3339(from));
    caller.get(Operation::Range, &path).await?;
    Ok(())
}

pub(super) async fn trend<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let path = format!("/api/v1/metrics/{}/trend", caller.identity()?.service());
    caller.get(Operation::Trend, &path).await?;
    Ok(())
}
