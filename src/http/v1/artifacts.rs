//! `/api/v1/archive/{archive_entry_id}/artifacts`: files of an entry.

use axum::Json;
use axum::body::{Body as Stream, Bytes};
use axum::extract::{FromRequestParts, Request, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Known;
use crate::domain::artifact::Artifact;
use crate::domain::validation::Check;
use crate::http::extract::{Caller, Id, Path, parameter};
use crate::http::openapi::Binary;
use crate::http::problem::{Problem, Reads, Writes};
use crate::http::state::State;
use crate::service::artifacts::Upload;

/// What an upload without a `Content-Type` is (RFC 9110, section 8.3).
const UNKNOWN: &str = "application/octet-stream";

/// The artifacts of an entry.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Artifacts {
    /// By name.
    items: Vec<Artifact>,
}

/// Where an artifact is.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Place {
    archive_entry_id: String,
    name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(place) = Path::<Self>::from_request_parts(parts, state).await?;
        let mut check = Check::default();
        check.id("archive_entry_id", &place.archive_entry_id);
        check.id("name", &place.name);
        check.done().map_err(|invalid| parameter(invalid.into()))?;
        Ok(place)
    }
}

/// The artifacts of an entry.
#[utoipa::path(get, path = "/api/v1/archive/{archive_entry_id}/artifacts", operation_id = "list_artifacts", tag = "archive",
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, body = Artifacts), Reads))]
pub(in crate::http) async fn list(Extract(state): Extract<State>, Id(id): Id) -> Result<Json<Artifacts>, Problem> {
    Ok(Json(Artifacts { items: state.services.artifacts.list(&id).await? }))
}

/// Give an entry a file: a large patch, the log of an evaluation. The body is the file. Repeating the same upload is harmless;
/// another file takes the place of the one that has its name.
#[utoipa::path(put, path = "/api/v1/archive/{archive_entry_id}/artifacts/{name}", operation_id = "put_artifact", tag = "archive",
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255),
           ("name" = String, Path, min_length = 1, max_length = 255)),
    request_body(content = inline(Binary), content_type = "application/octet-stream",
        description = "The bytes, at most `artifacts.max_bytes`, and within `limits`; Content-Type says what they are"),
    responses((status = 201, body = Artifact, description = "The entry had none of this name"),
              (status = 200, body = Artifact, description = "In place of the one before"),
              (status = 501, description = "This installation keeps no artifacts"), Reads, Writes))]
pub(in crate::http) async fn put(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Place { archive_entry_id, name }: Place,
    request: Request,
) -> Result<(StatusCode, Json<Artifact>), Problem> {
    let (parts, body) = request.into_parts();
    let said = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let upload = Upload {
        entry: &archive_entry_id,
        name: &name,
        media_type: said(header::CONTENT_TYPE).unwrap_or(UNKNOWN),
        announced: said(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        by: caller.user_id,
    };
    let (new, artifact) = state.services.artifacts.attach(upload, body.into_data_stream()).await.map_err(parameter)?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(artifact)))
}

/// The bytes of an artifact. With `If-None-Match` the answer is 304 while they are the same.
#[utoipa::path(get, path = "/api/v1/archive/{archive_entry_id}/artifacts/{name}", operation_id = "get_artifact", tag = "archive",
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255),
           ("name" = String, Path, min_length = 1, max_length = 255),
           ("if-none-match" = Option<String>, Header, description = "The ETag that the caller has")),
    responses((status = 200, description = "The bytes; Content-Type is the uploader's",
               content((inline(Binary) = "application/octet-stream"), (inline(Binary) = "*/*")),
               headers(("etag" = String, description = "The digest"))),
              (status = 304, description = "The same bytes"), Reads))]
pub(in crate::http) async fn get(
    Extract(state): Extract<State>,
    Place { archive_entry_id, name }: Place,
    known: Known,
    request: Request,
) -> Result<Response, Problem> {
    let artifact = state.services.artifacts.get(&archive_entry_id, &name).await?;
    let tag = value(format!("\"{}\"", artifact.digest));
    if known.holds(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let body = if request.method() == axum::http::Method::HEAD {
        Stream::empty()
    } else {
        Stream::from_stream(state.services.artifacts.read(&artifact).await?)
    };
    let headers = [
        (header::ETAG, tag),
        (header::CONTENT_TYPE, value(artifact.media_type)),
        (header::CONTENT_LENGTH, HeaderValue::from(artifact.size_bytes)),
        // What a worker uploaded is not a page of ours, whatever it says that it is.
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    ];
    Ok((headers, body).into_response())
}

/// Take an artifact from an entry.
#[utoipa::path(delete, path = "/api/v1/archive/{archive_entry_id}/artifacts/{name}", operation_id = "delete_artifact", tag = "archive",
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255),
           ("name" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 204, description = "The entry has it no more"), Reads))]
pub(in crate::http) async fn delete(
    Extract(state): Extract<State>,
    Place { archive_entry_id, name }: Place,
) -> Result<StatusCode, Problem> {
    state.services.artifacts.detach(&archive_entry_id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was checked when it came in.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(UNKNOWN))
}
