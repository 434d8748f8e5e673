//! What is done for every request: who may make it, its id, its rate, errors and duration. One layer for all, since each
//! costs an allocation and a clone of what is below it.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::access;
use super::state::State;
use crate::telemetry::catalogue::http::{HTTP_DURATION, HTTP_IN_FLIGHT, HTTP_REQUESTS};
use crate::telemetry::catalogue::labels::StatusClass;
use crate::telemetry::catalogue::routes::{Method, Route};
use crate::telemetry::context;
use crate::telemetry::spans::{self, Caller};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn request(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or(Route::UNMATCHED, |path| Route::of(path.as_str()));
    let method = Method::of(request.method().as_str());
    let id = request_id(&request);
    let flight = InFlight::enter();
    let caller = Caller::of(request.headers());
    let mut context = context::Request {
        id: id.clone(),
        method: method.as_str(),
        route: route.as_str(),
        trace: caller.as_ref().map(Caller::trace_id),
    };
    let mut response = if spans::is_chosen(caller.as_ref()) {
        let span = span(&request, route, method, &id);
        context.trace = spans::root(&span, caller);
        // Boxed, since it would make the future of every request larger.
        context::within(context, Box::pin(traced(&state, request, next, span, started))).await
    } else {
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

/// By the conventions for spans of HTTP servers (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>): what
/// matches no route, or has a method that nobody knows, must not make a name of its own.
fn span(request: &Request, route: Route, method: Method, id: &HeaderValue) -> Span {
    let (name, method) = match method {
        Method::OTHER => ("HTTP", "_OTHER"),
        known => (known.as_str(), known.as_str()),
    };
    let matched = (route != Route::UNMATCHED).then(|| route.as_str());
    tracing::info_span!(
        "request",
        otel.name = matched.map_or_else(|| name.to_owned(), |route| format!("{name} {route}")),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = matched,
        http.response.status_code = Empty,
        url.scheme = "http",
        url.path = request.uri().path(),
        error.type = Empty,
        request_id = id.to_str().unwrap_or_default(),
        trace_id = Empty,
    )
}

async fn traced(state: &State, request: Request, next: Next, span: Span, started: Instant) -> Response {
    let response = access::admit(state, request, next).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", spans::number(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    span.in_scope(|| tell(status, started.elapsed()));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that a function of three arguments returns.
    const fn bytes_of_future<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_every_request_is_small() {
        // It is copied several times for each. An async function that takes a future holds it twice.
        assert!(bytes_of_future(request) <= 4096, "{}", bytes_of_future(request));
    }
}
