//! Spans of group commit. A batch belongs to no request more than to another, so it is a trace of its own; it is linked to the
//! spans of the requests in it, and they to it.

use tracing::Span;
use tracing::field::Empty;

use super::Batch;
use crate::telemetry::spans::{self, MOST_LINKS, Place};

/// The wait of a request for its batch to be committed; none when nobody follows.
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

/// A batch; none when none of its requests is followed.
pub(super) fn batch<B: Batch>(followed: &[Span], requests: usize, rows: usize) -> Span {
    if followed.is_empty() {
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
    for place in followed.iter().take(MOST_LINKS).filter_map(Place::of) {
        place.link_from(&batch);
    }
    let place = Place::of(&batch);
    for request in followed {
        request.record("batch.requests", requests);
        request.record("batch.rows", rows);
        if let Some(place) = place.clone() {
            place.link_from(request);
        }
    }
    batch
}
