//! What is cached: finished bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// First byte of the form in Redis; another form gets another number, and what cannot be read is a miss.
const FORM: u8 = 1;

/// A finished answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The body.
    pub body: Bytes,
    /// Its entity tag.
    pub etag: Option<Arc<str>>,
    /// The version of the row that it was made from; 0 for what has none.
    pub version: i64,
}

impl Cached {
    /// Finished bytes with their tag and version.
    #[must_use]
    pub fn new(body: Bytes, etag: Option<String>, version: i64) -> Self {
        Self { body, etag: etag.map(Arc::from), version }
    }

    pub(super) fn encode(&self) -> Bytes {
        let etag = self.etag.as_deref().unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(11 + etag.len() + self.body.len());
        bytes.put_u8(FORM);
        bytes.put_i64(self.version);
        // Tags are made from version numbers: far shorter than 65535.
        bytes.put_u16(etag.len().try_into().unwrap_or(0));
        bytes.put_slice(etag.as_bytes());
        bytes.put_slice(&self.body);
        bytes.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != FORM {
            return None;
        }
        let version = bytes.try_get_i64().ok()?;
        let length = usize::from(bytes.try_get_u16().ok()?);
        if bytes.len() < length {
            return None;
        }
        let etag = bytes.split_to(length);
        let etag = std::str::from_utf8(&etag).ok()?;
        Some(Self { etag: (!etag.is_empty()).then(|| Arc::from(etag)), version, body: bytes })
    }
}

/// What a load found.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// It is there.
    Found {
        /// The answer.
        cached: Cached,
        /// How long it may be kept.
        ttl: Duration,
    },
    /// It is not there; that is kept too, briefly.
    Absent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_in_redis_round_trips_and_foreign_bytes_are_a_miss() {
        for etag in [None, Some("\"v7\"".to_owned())] {
            let cached = Cached::new(Bytes::from_static(b"{\"a\":1}"), etag, 7);
            assert_eq!(Cached::decode(cached.encode()), Some(cached));
        }
        for foreign in [&b""[..], b"\x01", b"{\"json\":1}", b"\x01\0\0\0\0\0\0\0\x07\xff\xffshort"] {
            assert_eq!(Cached::decode(Bytes::from_static(foreign)), None);
        }
    }
}
