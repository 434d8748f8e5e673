//! Trace context between processes (<https://www.w3.org/TR/trace-context/>), and which work has spans at all.
//!
//! What is not sent has no span: whether a trace is sent is decided once, at its root, and what lies below makes spans
//! only while one is current ([`child`]). So work that is not traced costs a look, and the sampler of the SDK, which would
//! decide when the span has been paid for, keeps whatever it is given.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Most links of one span: the SDK drops what goes beyond.
pub const MOST_LINKS: usize = 128;

/// The bits of the ratio of traces that are sent; not a number: nothing is.
static RATIO: AtomicU64 = AtomicU64::new(f64::NAN.to_bits());

/// Tells that spans are sent, and of how many of the traces that start here.
pub(super) fn exported(ratio: f64) {
    RATIO.store(ratio.to_bits(), Ordering::Relaxed);
}

fn ratio() -> Option<f64> {
    Some(f64::from_bits(RATIO.load(Ordering::Relaxed))).filter(|ratio| !ratio.is_nan())
}

/// A span below the current one, if that is sent; else none.
macro_rules! child {
    ($($span:tt)*) => {
        if $crate::telemetry::spans::are_followed() { tracing::info_span!($($span)*) } else { tracing::Span::none() }
    };
}
pub(crate) use child;

/// Whether the work under way belongs to a trace that is sent.
#[must_use]
pub fn are_followed() -> bool {
    ratio().is_some() && Span::current().metadata().is_some_and(is_ours)
}

/// Whether a span is of this crate: only those are chosen.
pub(super) fn is_ours(span: &Metadata<'_>) -> bool {
    span.target().starts_with("dgm_service")
}

/// Whether a trace is sent: the caller decides for its own, chance for what starts here.
#[must_use]
pub fn is_chosen(caller: Option<&Caller>) -> bool {
    choose(ratio(), caller, rand::random)
}

fn choose(ratio: Option<f64>, caller: Option<&Caller>, draw: impl FnOnce() -> f64) -> bool {
    let Some(ratio) = ratio else { return false };
    // A draw is below 1, and not below 0.
    caller.map_or_else(|| draw() < ratio, |Caller(context)| context.span().span_context().is_sampled())
}

/// The id of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(opentelemetry::TraceId);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The caller's span.
#[derive(Debug, Clone)]
pub struct Caller(Context);

impl Caller {
    /// The one of `traceparent` and `tracestate`; none when it is missing or malformed.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        // Most have none, and the propagator asks for more than this one.
        headers.get("traceparent")?;
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        context.span().span_context().is_valid().then(|| Self(context.clone()))
    }

    /// The trace that it belongs to, whether that is sent or not.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        TraceId(self.0.span().span_context().trace_id())
    }
}

/// Makes a span the root of what happens here, below the caller's, if any; its field `trace_id` is filled. Call it before
/// the span is entered, which starts it. The trace, where there is one.
#[allow(clippy::must_use_candidate, reason = "the span knows it, too")]
pub fn root(span: &Span, caller: Option<Caller>) -> Option<TraceId> {
    if let Some(Caller(context)) = caller {
        // It fails where nothing listens to spans; then there is no trace to belong to.
        let _ = span.set_parent(context);
    }
    let id = trace_id(span)?;
    span.record("trace_id", tracing::field::display(id));
    Some(id)
}

/// The trace that a span belongs to; none where nothing listens to spans.
#[must_use]
pub fn trace_id(span: &Span) -> Option<TraceId> {
    let id = span.context().span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then_some(TraceId(id))
}

/// Where a span stands in its trace. Other than the span it does not keep it from ending.
#[derive(Debug, Clone)]
pub struct Place(SpanContext);

impl Place {
    /// Of a span, if it is one that is sent.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context().span().span_context().clone();
        context.is_sampled().then_some(Self(context))
    }

    /// Of the work under way.
    #[must_use]
    pub fn here() -> Option<Self> {
        if are_followed() { Self::of(&Span::current()) } else { None }
    }

    /// Links a span of another trace to it.
    pub fn link_from(self, span: &Span) {
        span.add_link(self.0);
    }
}

/// A number as an attribute has it: unsigned ones would be sent as text.
pub fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Marks what a span stands for as failed.
pub fn failed(span: &Span, kind: &str, reason: &dyn fmt::Display) {
    if !span.is_none() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind);
        span.record("otel.status_description", tracing::field::display(reason));
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn called(flags: &str) -> Option<Caller> {
        let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let header = (HeaderName::from_static("traceparent"), HeaderValue::try_from(text).unwrap());
        Caller::of(&HeaderMap::from_iter([header]))
    }

    #[test]
    fn the_caller_decides_and_else_chance() {
        let (sampled, unsampled) = (called("01"), called("00"));
        assert_eq!(unsampled.as_ref().unwrap().trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        for ratio in [0.0, 1.0] {
            assert!(choose(Some(ratio), sampled.as_ref(), || unreachable!()));
            assert!(!choose(Some(ratio), unsampled.as_ref(), || unreachable!()));
        }
        for (ratio, draw, chosen) in [(0.25, 0.2, true), (0.25, 0.25, false), (0.0, 0.0, false), (1.0, 0.999, true)] {
            assert_eq!(choose(Some(ratio), None, || draw), chosen, "{ratio} {draw}");
        }
        assert!(!choose(None, sampled.as_ref(), || 0.0), "nothing is sent");
    }

    #[test]
    fn a_malformed_caller_is_none() {
        assert!(called("zz").is_none());
        assert!(Caller::of(&HeaderMap::new()).is_none());
    }
}
