//! Trace context between processes (<https://www.w3.org/TR/trace-context/>). Without an exporter of traces there is
//! none, and both functions do nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Tells whether spans go anywhere.
pub(super) fn exported(whether: bool) {
    EXPORTED.store(whether, Ordering::Relaxed);
}

/// Whether spans go anywhere; if not, a request need not have one.
#[must_use]
pub fn are_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

/// Makes the caller's span of `traceparent` and `tracestate` the parent of this one. A missing or malformed header
/// leaves the span as it is. Call it before the span is entered and before [`trace_id`]: both start it.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    if caller.span().span_context().is_valid() {
        // It fails where nothing listens to spans; then there is no trace to belong to.
        let _ = span.set_parent(caller);
    }
}

/// The id of the trace that the span belongs to, as 32 hexadecimal digits, whether or not the trace is sampled.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}
