//! Extractors whose rejections are problem documents.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::domain::identity::Principal;
use crate::domain::json;
use crate::domain::validation::{Check, Fault, Invalid};
use crate::service::error::Error;

/// The caller, put there by the access check.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Kind::Internal, "the caller was not checked"))
    }
}

/// The bearer secret of the `Authorization` header.
pub(super) struct Bearer(pub(super) Option<String>);

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.headers.get(header::AUTHORIZATION).and_then(bearer).map(str::to_owned)))
    }
}

/// The secret of an `Authorization` header.
pub(super) fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, secret) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// Path parameters.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(Kind::InvalidParameter, rejection.body_text())),
        }
    }
}

/// The id in a path.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await?;
        let mut check = Check::default();
        check.id("id", &id);
        check.done().map_err(|invalid| parameter(invalid.into()))?;
        Ok(Self(id))
    }
}

/// Query parameters; unknown ones are refused by the types.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(query_problem(&rejection.body_text())),
        }
    }
}

/// From "Failed to deserialize query string: name: message".
fn query_problem(text: &str) -> Problem {
    let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let fault = detail.split_once(": ").filter(|(name, _)| !pointer(name).is_empty());
    let fault = fault.map(|(name, detail)| Fault { pointer: name.to_owned(), detail: detail.to_owned() });
    Problem { kind: Kind::InvalidParameter, detail: detail.to_owned(), errors: fault.into_iter().collect() }
}

/// A wrong parameter, when the service says so: the same fault is a 422 in a body and a 400 in a URL.
pub(super) fn parameter(error: Error) -> Problem {
    let mut problem = Problem::from(error);
    if problem.kind == Kind::InvalidBody {
        problem.kind = Kind::InvalidParameter;
    }
    problem
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        decode(&json_bytes(request, state).await?).map(Self)
    }
}

/// One JSON value or an array of them; `true` when it was an array.
pub(super) struct OneOrMany<T>(pub(super) Vec<T>, pub(super) bool);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OneOrMany<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = json_bytes(request, state).await?;
        // Not an untagged enum, whose errors do not say what is wrong.
        let many = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        Ok(Self(if many { decode(&bytes)? } else { vec![decode(&bytes)?] }, many))
    }
}

async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let json = |mime: &str| mime.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json"));
    let mime = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !mime.is_some_and(json) {
        return Err(Problem::new(Kind::UnsupportedMediaType, "send Content-Type: application/json"));
    }
    Bytes::from_request(request, state).await.map_err(|rejection| bytes_problem(&rejection))
}

/// Errors are told with their place in the body; keeping track of it costs, so only what is wrong is read that way.
fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(bytes).or_else(|error| {
        let axum::Json(value) = axum::Json::from_bytes(bytes)
            .map_err(|rejection| body_problem(&rejection, || json::reason(bytes, &error)))?;
        Ok(value)
    })
}

fn body_problem(rejection: &JsonRejection, reason: impl FnOnce() -> String) -> Problem {
    match rejection {
        JsonRejection::JsonSyntaxError(error) => {
            // "Failed to parse the request body as JSON: a.b: message at line 1 column 2"
            let text = error.body_text();
            let path = text.split_once("as JSON: ").and_then(|(_, rest)| rest.split_once(": "));
            let fault = Fault { pointer: path.map_or_else(String::new, |(path, _)| pointer(path)), detail: reason() };
            let detail = format!("{} {}", fault.pointer, fault.detail).trim().to_owned();
            Problem { kind: Kind::MalformedBody, detail, errors: vec![fault] }
        }
        JsonRejection::JsonDataError(error) => {
            // "Failed to deserialize the JSON body into the target type: a.b: message at line 1 column 2"
            let text = error.body_text();
            let detail = text.split_once("target type: ").map_or(text.as_str(), |(_, rest)| rest).to_owned();
            let pointer = detail.split_once(": ").map_or(String::new(), |(path, _)| pointer(path));
            Problem { kind: Kind::InvalidBody, detail: detail.clone(), errors: vec![Fault { pointer, detail }] }
        }
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new(Kind::UnsupportedMediaType, "send Content-Type: application/json")
        }
        JsonRejection::BytesRejection(rejection) => bytes_problem(rejection),
        other => Problem::new(Kind::MalformedBody, other.body_text()),
    }
}

fn bytes_problem(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Kind::BodyTooLarge, "the body is larger than this server takes"),
        _ => Problem::new(Kind::MalformedBody, "the body could not be read"),
    }
}

/// `entries[3].status` as a JSON pointer; what does not look like a path is the document itself.
fn pointer(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.[]".contains(c);
    if path.is_empty() || !path.chars().all(plain) {
        return String::new();
    }
    format!("/{}", path.replace(['.', '['], "/").replace(']', "").trim_start_matches('/'))
}

/// Turns the faults of a parameter that the extractor itself checks into a problem.
pub(super) fn invalid_parameter(name: &str, detail: impl Into<String>) -> Problem {
    parameter(Invalid::one(name, detail).into())
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn paths_become_pointers() {
        assert_eq!(pointer("entries[3].status"), "/entries/3/status");
        assert_eq!(pointer("[0].metric_value"), "/0/metric_value");
        assert_eq!(pointer("unknown field `x`"), "");
    }
}
