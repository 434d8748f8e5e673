//! Spans of group commit. A batch serves many requests, so it is a trace of its own, linked with the spans of its requests
//! in both directions.

use tracing::Span;
use tracing::field::Empty;

use super::Batch;
use crate::telemetry::spans::{self, MOST_LINKS, Place};

/// The wait of a request until its batch is committed; none when the trace is not recorded.
pub(super) fn wait<B: Batch>(request: &B) -> Span {
    if !spans::are_followed() {
        return Span::none();
    }
    tracing::info_span!(
        "write",
        otel.name = format!("write {}", B::LABEL.as_str()),
        writer = B::LABEL.as_str(),
        rows = spans::number(request.rows()),
        batch.requests = Empty,
        batch.rows = Empty,
    )
}

/// A batch; none when no trace of its requests is recorded.
pub(super) fn batch<B: Batch>(waits: &[Span], requests: usize, rows: usize) -> Span {
    if waits.is_empty() {
        return Span::none();
    }
    let (requests, rows) = (spans::number(requests), spans::number(rows));
    let batch = tracing::info_span!(
        parent: None,
        "commit",
        otel.name = format!("commit {}", B::LABEL.as_str()),
        otel.status_code = Empty,
        otel.status_description = Empty,
        error.type = Empty,
        writer = B::LABEL.as_str(),
        batch.requests = requests,
        batch.rows = rows,
        trace_id = Empty,
    );
    spans::root(&batch, None);
    for place in waits.iter().take(MOST_LINKS).filter_map(Place::of) {
        place.link_from(&batch);
    }
    let place = Place::of(&batch);
    for request in waits {
        request.record("batch.requests", requests);
        request.record("batch.rows", rows);
        if let Some(place) = place.clone() {
            place.link_from(request);
        }
    }
    batch
}
