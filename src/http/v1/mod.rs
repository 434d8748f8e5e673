//! Version 1 of the API, one file per resource.

pub(super) mod admin;
pub(super) mod archive;
pub(super) mod improvements;
pub(super) mod metrics;
pub(super) mod sessions;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::service::archive::Cached;

/// Finished bytes, or 304 when the caller has them already (RFC 9110 section 13.1.2).
fn finished(cached: Cached, request: &HeaderMap) -> Response {
    let tag = cached.etag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok());
    let mut response = match &tag {
        Some(tag) if none_match(request, tag) => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([(header::CONTENT_TYPE, "application/json")], Body::from(cached.body)).into_response(),
    };
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn none_match(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        // Weak comparison: a proxy that compresses may have weakened our tag.
        value.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == tag)
    })
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
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(given));
            assert_eq!(none_match(&headers, &tag), expected, "{given}");
        }
        assert!(!none_match(&HeaderMap::new(), &tag));
    }
}
