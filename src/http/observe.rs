//! What is done for every request: who may make it, its id, its rate, errors and duration. One layer for all, since each
//! costs an allocation and a clone of what is below it.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{State, access};
use crate::telemetry::catalogue::http::{HTTP_DURATION, HTTP_IN_FLIGHT, HTTP_REQUESTS};
use crate::telemetry::catalogue::labels::{Method, Route, StatusClass};
use crate::telemetry::{context, spans};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn request(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(Route::unmatched, |path| Route::of(path.as_str()));
    let method = Method::of(request.method().as_str());
    let id = request_id(&request);
    let flight = InFlight::enter();
    let mut response = if spans::are_exported() {
        // Boxed, since it would make the future of every request larger.
        Box::pin(traced(&state, request, next, route, method, &id, started)).await
    } else {
        let context = context::Request { id: id.clone(), method: method.as_str(), route: route.as_str() };
        context::within(context, async {
            let response = access::admit(&state, request, next).await;
            tell(response.status(), started.elapsed());
            response
        })
        .await
    };
    drop(flight);
    HTTP_REQUESTS.increment((route, method, StatusClass::of(response.status().as_u16())));
    HTTP_DURATION.observe((route, method), started.elapsed());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// In a span, which is part of the caller's trace.
async fn traced(
    state: &State,
    request: Request,
    next: Next,
    route: Route,
    method: Method,
    id: &HeaderValue,
    started: Instant,
) -> Response {
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.request.method = method.as_str(),
        http.route = route.as_str(),
        http.response.status_code = tracing::field::Empty,
        request_id = id.to_str().unwrap_or_default(),
        trace_id = tracing::field::Empty,
    );
    spans::set_parent(&span, request.headers());
    if let Some(trace) = spans::trace_id(&span) {
        span.record("trace_id", trace);
    }
    let response = access::admit(state, request, next).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    span.in_scope(|| tell(response.status(), started.elapsed()));
    response
}

fn tell(status: StatusCode, took: Duration) {
    let (status, took_seconds) = (status.as_u16(), took.as_secs_f64());
    if status >= 500 {
        tracing::warn!(status, took_seconds, "answered with a server error");
    } else {
        tracing::debug!(status, took_seconds, "answered");
    }
}

/// The caller's id when it is a sane one (it goes into logs), else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let sane = |id: &[u8]| {
        (1..=128).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
    };
    if let Some(given) = request.headers().get(REQUEST_ID).filter(|id| sane(id.as_bytes())) {
        return given.clone();
    }
    let mut buffer = Uuid::encode_buffer();
    let id = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
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
