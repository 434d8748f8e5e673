//! `/api/v1/metrics`

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{Known, respond};
use crate::domain::sample::{CurrentMetrics, Ingested, NewSample, Series, Trend};
use crate::http::extract::{OneOrMany, Path, Query, invalid_parameter, parameter};
use crate::http::problem::{Problem, Reads, Writes};
use crate::http::state::State;

/// One sample or up to 10000.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "the schema of a body that OneOrMany reads")]
pub(in crate::http) enum Samples {
    /// One.
    One(NewSample),
    /// Many, stored all or none.
    Many(Vec<NewSample>),
}

/// A range.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct RangeQuery {
    /// From, inclusive; an hour before `to` when absent.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    from: Option<DateTime<Utc>>,
    /// To, exclusive; now when absent.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    to: Option<DateTime<Utc>>,
    /// Width of a step: seconds, or with a unit as in `30s`, `5m`, `1h`, `1d`; a minute when absent.
    step: Option<String>,
}

/// Store one sample or many. The answer is sent after they are durable. A sample with an `id` is stored once, however
/// often it is sent.
#[utoipa::path(post, path = "/api/v1/metrics", operation_id = "ingest_metrics", tag = "metrics", request_body = Samples,
    responses((status = 201, body = Ingested, description = "Stored"),
              (status = 200, body = Ingested, description = "All were stored before"), Reads, Writes))]
pub(in crate::http) async fn ingest(
    Extract(state): Extract<State>,
    OneOrMany(samples, many): OneOrMany<NewSample>,
) -> Result<(StatusCode, Json<Ingested>), Problem> {
    let ingested = state.services.samples.accept(samples, many).await?;
    Ok((if ingested.accepted > 0 { StatusCode::CREATED } else { StatusCode::OK }, Json(ingested)))
}

/// The newest sample of each metric type, none older than 24 hours.
#[utoipa::path(get, path = "/api/v1/metrics/{service}/current", operation_id = "current_metrics", tag = "metrics",
    params(("service" = String, Path, min_length = 1, max_length = 100)),
    responses((status = 200, body = CurrentMetrics), Reads))]
pub(in crate::http) async fn current(
    Extract(state): Extract<State>,
    Path(service): Path<String>,
) -> Result<Response, Problem> {
    Ok(respond(state.services.samples.current(&service).await.map_err(parameter)?, &Known::nothing()))
}

/// The last 24 hours by the hour. Up to a minute old.
#[utoipa::path(get, path = "/api/v1/metrics/{service}/trend", operation_id = "metrics_trend", tag = "metrics",
    params(("service" = String, Path, min_length = 1, max_length = 100)),
    responses((status = 200, body = Trend), Reads))]
pub(in crate::http) async fn trend(
    Extract(state): Extract<State>,
    Path(service): Path<String>,
) -> Result<Response, Problem> {
    Ok(respond(state.services.samples.trend(&service).await.map_err(parameter)?, &Known::nothing()))
}

/// Count, mean, extremes and percentiles of one series, step by step.
#[utoipa::path(get, path = "/api/v1/metrics/{service}/{metric_type}", operation_id = "metric_range", tag = "metrics",
    params(("service" = String, Path, min_length = 1, max_length = 100),
           ("metric_type" = String, Path, min_length = 1, max_length = 100), RangeQuery),
    responses((status = 200, body = Series), Reads))]
pub(in crate::http) async fn range(
    Extract(state): Extract<State>,
    Path((service, metric_type)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<Series>, Problem> {
    let step = query.step.as_deref().map(step).transpose()?;
    let series = state.services.samples.range(&service, &metric_type, query.from, query.to, step).await;
    Ok(Json(series.map_err(parameter)?))
}

fn step(text: &str) -> Result<TimeDelta, Problem> {
    let seconds = text.parse().ok().map(std::time::Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .and_then(|duration| TimeDelta::from_std(duration).ok())
        .ok_or_else(|| invalid_parameter("step", "must be seconds, or a duration such as 30s, 5m, 1h, 1d"))
}
