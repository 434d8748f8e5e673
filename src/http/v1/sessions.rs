//! `/api/v1/sessions`

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;

use crate::domain::identity::{NewSession, Principal};
use crate::http::extract::{Bearer, Caller};
use crate::http::problem::{Kind, Problem, Reads, Writes};
use crate::http::state::State;

/// Trade the API token of the `Authorization` header for a session. It ends by itself, with `DELETE`, and with the token.
#[utoipa::path(post, path = "/api/v1/sessions", operation_id = "open_session", tag = "sessions",
    responses((status = 201, body = NewSession), Reads, Writes))]
pub(in crate::http) async fn open(
    Extract(state): Extract<State>,
    Bearer(secret): Bearer,
) -> Result<(StatusCode, Json<NewSession>), Problem> {
    let secret = secret.ok_or_else(|| Problem::new(Kind::Unauthenticated, "a session is opened with an API token"))?;
    Ok((StatusCode::CREATED, Json(state.services.identity.open_session(&secret).await?)))
}

/// Who the caller is, and until when.
#[utoipa::path(get, path = "/api/v1/sessions/current", operation_id = "current_session", tag = "sessions",
    responses((status = 200, body = Principal), Reads))]
pub(in crate::http) async fn current(Caller(caller): Caller) -> Json<Principal> {
    Json(Principal::clone(&caller))
}

/// End the session that the caller shows.
#[utoipa::path(delete, path = "/api/v1/sessions/current", operation_id = "close_session", tag = "sessions",
    responses((status = 204, description = "Ended"), Reads))]
pub(in crate::http) async fn close(
    Extract(state): Extract<State>,
    Bearer(secret): Bearer,
) -> Result<StatusCode, Problem> {
    state.services.identity.close_session(&secret.unwrap_or_default()).await?;
    Ok(StatusCode::NO_CONTENT)
}
