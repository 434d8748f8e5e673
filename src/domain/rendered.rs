//! Responses that are rendered once and sent many times.

use bytes::Bytes;

/// A response body in JSON with its entity tag.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The JSON.
    pub body: Bytes,
    /// A strong entity tag, for resources that have one.
    pub etag: Option<Bytes>,
}
