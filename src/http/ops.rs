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
use crate::domain::health::{ExportsStatus, RedisStatus};
use crate::observability::runbooks;
use crate::service::operations::SchemaReport;
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
    /// `ready`; `degraded` when Redis is configured and cannot be reached (slower, and correct) or refuses writes, when the clock differs, or when the schema
    /// is newer than this program, as during a rolling upgrade.
    status: &'static str,
    /// Why the status is `degraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// How far this process's clock is ahead of the database's, in seconds; negative: behind.
    clock_difference_seconds: f64,
    /// The newest migration of the database.
    schema_version: i64,
    /// `disabled`, `up`, `down`, or `refuses_writes`: it answers, and no session can be opened or closed.
    redis: &'static str,
    /// The target of exported months (`samples.export_url`): `disabled`, `unknown` until it is looked at, `ready`, or `unavailable`, in which
    /// case no month is dropped and everything else is served.
    exports: &'static str,
    /// What to do when the schema is newer than this program; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
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
    let schema = can_serve(&state).await.map_err(|why| Problem::new(Kind::NotReady, why))?;
    let (redis, lost) = match state.services.operations.redis_status() {
        RedisStatus::Disabled => ("disabled", None),
        RedisStatus::Up => ("up", None),
        RedisStatus::Down => ("down", Some("Redis cannot be reached".to_owned())),
        RedisStatus::RefusesWrites(why) => ("refuses_writes", Some(why.to_owned())),
    };
    let (ahead, differs) = match state.services.operations.clock().await {
        Ok(reading) => (reading.ahead, reading.differs().map(|error| error.to_string())),
        Err(error) => return Err(Problem::new(Kind::NotReady, error.to_string())),
    };
    let reasons: Vec<String> = lost.into_iter().chain(differs).chain(schema.newer.clone()).collect();
    let status = if reasons.is_empty() { "ready" } else { "degraded" };
    let detail = (!reasons.is_empty()).then(|| reasons.join("; "));
    let clock_difference_seconds = ahead.as_seconds_f64();
    let exports = match state.services.partitions.exports_status() {
        ExportsStatus::Disabled => "disabled",
        ExportsStatus::Unknown => "unknown",
        ExportsStatus::Ready => "ready",
        ExportsStatus::Unavailable => "unavailable",
    };
    let schema_version = schema.version;
    Ok(Json(Ready { status, detail, clock_difference_seconds, schema_version, redis, exports, schema: schema.newer }))
}

/// The schema of the database, or why the process cannot serve. Migrations are written so that the version before can serve
/// the schema after them (migrations/README.md), so a newer schema alone is no obstacle.
pub(super) async fn can_serve(state: &State) -> Result<SchemaReport, String> {
    if state.unready.is_cancelled() {
        return Err("the process is stopping".to_owned());
    }
    // The server's own words may name hosts and users: they are for the log, not for the caller.
    let schema = state.services.operations.schema().await.map_err(|_| "the database cannot be asked".to_owned())?;
    if let Some(obstacle) = schema.obstacle { Err(obstacle) } else { Ok(schema) }
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
