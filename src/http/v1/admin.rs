//! `/api/v1/admin`

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::identity::{CreatedToken, NewToken, TokenInfo};
use crate::http::extract::{Body, Id};
use crate::http::problem::{Problem, Reads, Writes};
use crate::http::state::State;

/// Every token.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Tokens {
    /// By name.
    items: Vec<TokenInfo>,
}

/// The API tokens; not the secrets, which nobody has but their holders.
#[utoipa::path(get, path = "/api/v1/admin/tokens", operation_id = "list_tokens", tag = "admin",
    responses((status = 200, body = Tokens), Reads))]
pub(in crate::http) async fn tokens(Extract(state): Extract<State>) -> Result<Json<Tokens>, Problem> {
    Ok(Json(Tokens { items: state.services.identity.tokens().await? }))
}

/// Make an API token. It is shown this once.
#[utoipa::path(post, path = "/api/v1/admin/tokens", operation_id = "create_token", tag = "admin", request_body = NewToken,
    responses((status = 201, body = CreatedToken), Reads, Writes))]
pub(in crate::http) async fn create_token(
    Extract(state): Extract<State>,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    Ok((StatusCode::CREATED, Json(state.services.identity.create_token(&new).await?)))
}

/// Revoke an API token and its sessions. Other replicas learn of it within seconds.
#[utoipa::path(delete, path = "/api/v1/admin/tokens/{name}", operation_id = "revoke_token", tag = "admin",
    params(("name" = String, Path, min_length = 1, max_length = 100)),
    responses((status = 204, description = "Revoked"), Reads))]
pub(in crate::http) async fn revoke_token(Extract(state): Extract<State>, Id(name): Id) -> Result<StatusCode, Problem> {
    state.services.identity.revoke_token(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
