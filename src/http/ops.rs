//! Liveness, readiness, metrics.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Path;
use super::problem::{Document, Kind, Problem};
use super::state::State;
use crate::domain::health::RedisStatus;
use crate::observability::runbooks;
use crate::telemetry::recorder;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// The process can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`, or `degraded` when Redis is configured and cannot be reached: slower, and correct.
    status: &'static str,
    /// The newest migration of the database.
    schema_version: i64,
    /// `disabled`, `up` or `down`.
    redis: &'static str,
}

/// Whether the process answers; whether it can serve is `/ready`'s matter.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether the process can serve: the database answers with the schema that this binary needs, and it is not stopping.
#[utoipa::path(get, path = "/ready", tag = "health", security(()), responses(
    (status = 200, body = Ready),
    (status = 503, body = Document, content_type = "application/problem+json", description = "Not ready; `detail` says why"),
))]
pub(super) async fn ready(Extract(state): Extract<State>) -> Result<Json<Ready>, Problem> {
    let schema_version = can_serve(&state).await.map_err(|why| Problem::new(Kind::NotReady, why))?;
    let (status, redis) = match state.services.operations.redis_status() {
        RedisStatus::Disabled => ("ready", "disabled"),
        RedisStatus::Up => ("ready", "up"),
        RedisStatus::Down => ("degraded", "down"),
    };
    Ok(Json(Ready { status, schema_version, redis }))
}

/// The newest migration of the database, or why the process cannot serve.
pub(super) async fn can_serve(state: &State) -> Result<i64, String> {
    if state.unready.is_cancelled() {
        return Err("the process is stopping".to_owned());
    }
    // The server's own words may name hosts and users: they are for the log, not for the caller.
    let version = state.services.operations.schema_version().await;
    let (applied, known) = version.map_err(|_| "the database cannot be asked".to_owned())?;
    if applied < known {
        return Err(format!("the schema is at {applied} and must be at {known}: run `dgm migrate up`"));
    }
    Ok(applied)
}

/// The Prometheus text exposition.
pub(super) async fn metrics(Extract(state): Extract<State>) -> Result<Response, Problem> {
    state.services.operations.publish();
    let text = recorder::render().ok_or_else(no_metrics)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// There is no recorder.
pub(super) fn no_metrics() -> Problem {
    Problem::new(Kind::NotFound, "metrics are switched off: telemetry.metrics is false")
}

/// What to do about an alert: its `runbook_url` leads here unless the rules are written for another place. Runbooks link to each
/// other as files.
pub(super) async fn runbook(Path(name): Path<String>) -> Result<Response, Problem> {
    let alert = name.strip_suffix(".md").unwrap_or(&name);
    let text = runbooks::of(alert).ok_or_else(|| Problem::new(Kind::NotFound, format!("no alert {alert:?}")))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
