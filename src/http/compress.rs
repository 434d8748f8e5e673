//! Compression of large texts for callers that ask for it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tower_http::compression::predicate::{Predicate as _, SizeAbove};

/// What is smaller fits into three packets as it is.
const LEAST_BYTES: u16 = 4096;

/// Answers a request, compressed where its caller takes that. No layer, since requests without `Accept-Encoding` would pass it, too.
pub(super) async fn run(next: Next, request: Request) -> Response {
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return next.run(request).await;
    }
    Box::pin(compressed(next, request)).await
}

async fn compressed(next: Next, request: Request) -> Response {
    let is_text = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| is_text(headers);
    let compression = Compression::new(next)
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(LEAST_BYTES - 1).and(is_text));
    let Ok(response) = compression.oneshot(request).await;
    let mut response = response.map(Body::new);
    // The bytes are not those that the strong tag names.
    if response.headers().contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok())
        && !tag.starts_with("W/")
        && let Ok(weak) = HeaderValue::try_from(format!("W/{tag}"))
    {
        response.headers_mut().insert(header::ETAG, weak);
    }
    response
}

/// JSON and what people read; neither streams, which must arrive at once, nor artifacts.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_text = kind.starts_with("text/") && kind != "text/event-stream";
    (is_text || kind.ends_with("json") || kind.ends_with("javascript") || kind.ends_with("+xml"))
        && !headers.contains_key(header::CONTENT_DISPOSITION)
}
