//! Liveness and readiness.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::State;
use super::problem::Problem;

/// The process answers; whether it can serve is [`ready`]'s matter.
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// 200 when the database answers with the schema that this binary needs, and the process is not stopping.
pub(super) async fn ready(Extract(state): Extract<State>) -> Result<Json<Value>, Problem> {
    let unready = |detail: String| Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        kind: "not-ready",
        title: "Not ready",
        detail,
    };
    if state.stopping.load(Ordering::Relaxed) {
        return Err(unready("the process is stopping".to_owned()));
    }
    // The server's own words may name hosts and users: they are for the log, not for whoever asks.
    let (applied, known) =
        state.store.schema_version().await.map_err(|_| unready("the database cannot be asked".to_owned()))?;
    if applied < known {
        return Err(unready(format!("the schema is at {applied} and must be at {known}: run `dgm migrate up`")));
    }
    Ok(Json(json!({ "status": "ready", "schema_version": applied })))
}
