//! Values as finished response bodies.

use bytes::Bytes;
use serde::Serialize;

use super::error::Error;
use crate::cache::Cached;
use crate::domain::archive::Entry;
use crate::domain::rendered::Rendered;

impl From<Cached> for Rendered {
    fn from(cached: Cached) -> Self {
        Self { body: cached.body, etag: cached.etag }
    }
}

pub(super) fn render_entry(entry: &Entry) -> Result<Cached, Error> {
    Ok(Cached::new(json(entry)?, Some(entry.summary.revision().etag()), entry.summary.version))
}

pub(super) fn json(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "a response cannot be serialised as JSON");
        Error::Internal
    })
}
