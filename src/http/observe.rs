//! What is seen of every request: its span, its id, its rate, errors and duration.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::telemetry::catalogue::http::{HTTP_DURATION, HTTP_IN_FLIGHT, HTTP_REQUESTS};
use crate::telemetry::catalogue::labels::{Method, Route, StatusClass};
use crate::telemetry::spans;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn request(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or_else(Route::unmatched, |path| Route::of(path.as_str()));
    let method = Method::of(request.method().as_str());
    let (id, header) = request_id(&request);
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.request.method = method.as_str(),
        http.route = route.as_str(),
        http.response.status_code = tracing::field::Empty,
        request_id = id,
        trace_id = tracing::field::Empty,
    );
    spans::set_parent(&span, request.headers());
    if let Some(trace) = spans::trace_id(&span) {
        span.record("trace_id", trace);
    }
    let flight = InFlight::enter();
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(flight);
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    HTTP_REQUESTS.increment((route, method, StatusClass::of(status.as_u16())));
    let took = started.elapsed();
    HTTP_DURATION.observe((route, method), took);
    span.in_scope(|| {
        let (status, took_seconds) = (status.as_u16(), took.as_secs_f64());
        if status >= 500 {
            tracing::warn!(status, took_seconds, "answered with a server error");
        } else {
            tracing::debug!(status, took_seconds, "answered");
        }
    });
    response.headers_mut().insert(REQUEST_ID, header);
    response
}

/// The caller's id when it is a sane one (it goes into logs), else a new one.
fn request_id(request: &Request) -> (String, HeaderValue) {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
    let id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let header = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    (id, header)
}

/// Counts down also when the client goes away and the handler is dropped.
struct InFlight;

impl InFlight {
    fn enter() -> Self {
        HTTP_IN_FLIGHT.add((), 1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        HTTP_IN_FLIGHT.add((), -1.0);
    }
}
