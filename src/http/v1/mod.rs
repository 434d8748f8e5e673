//! Version 1 of the API, one file per resource.

pub(super) mod admin;
pub(super) mod archive;
pub(super) mod artifacts;
pub(super) mod improvements;
pub(super) mod metrics;
pub(super) mod operations;
pub(super) mod sessions;

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::domain::page::Page;
use crate::domain::rendered::Rendered;
use crate::http::problem::{Kind, Problem};

/// The entity tags that the caller has: its `If-None-Match` (RFC 9110 section 13.1.2).
pub(in crate::http) struct Known(Vec<HeaderValue>);

impl Known {
    const fn nothing() -> Self {
        Self(Vec::new())
    }

    pub(in crate::http) fn holds(&self, tag: &HeaderValue) -> bool {
        let tag = tag.to_str().unwrap_or_default();
        Self::tags(&self.0).any(|given| given == "*" || given == tag)
    }

    /// The tags of If-Match or If-None-Match headers, without W/: a proxy that compresses may have weakened our tag. Tags of others contain no
    /// tag of ours, so commas within them do no harm.
    fn tags<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
        let listed = values.into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        listed.map(str::trim).map(|tag| tag.strip_prefix("W/").unwrap_or(tag))
    }
}

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect()))
    }
}

/// A JSON list, written into a buffer of its size: one that doubles would take half as much again of a large page.
fn list(value: &impl Serialize, bytes: usize, items: usize) -> Result<Response, Problem> {
    // Names of fields and short values are about as much again of a small item.
    let mut body = Vec::with_capacity(bytes + bytes / 64 + 512 * (items + 1));
    serde_json::to_writer(&mut body, value).map_err(|error| {
        tracing::error!(%error, "a list cannot be serialised as JSON");
        Problem::new(Kind::Internal, "internal error")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn page<T: Serialize>(page: &Page<T>) -> Result<Response, Problem> {
    list(page, page.bytes, page.items.len())
}

/// The response, or 304 when the caller has it already.
fn respond(rendered: Rendered, known: &Known) -> Response {
    let tag = rendered.etag.and_then(|tag| HeaderValue::from_maybe_shared(tag).ok());
    let mut response = match &tag {
        Some(tag) if known.holds(tag) => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([(header::CONTENT_TYPE, "application/json")], Body::from(rendered.body)).into_response(),
    };
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_compare_weakly_and_in_lists() {
        let tag = HeaderValue::from_static("\"v3\"");
        for (given, expected) in
            [("\"v3\"", true), ("W/\"v3\"", true), ("\"v1\", \"v3\"", true), ("*", true), ("\"v31\"", false)]
        {
            assert_eq!(Known(vec![HeaderValue::from_static(given)]).holds(&tag), expected, "{given}");
        }
        assert!(!Known::nothing().holds(&tag));
    }
}
