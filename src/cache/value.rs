//! What is cached: finished bytes.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::ttl::milliseconds;

/// First byte of the form in Redis; another form gets another number, and what cannot be read is a miss.
const FORM: u8 = 2;

/// A finished answer.
#[derive(Clone)]
pub struct Cached {
    /// The body.
    pub body: Bytes,
    /// Its entity tag.
    pub etag: Option<Bytes>,
    /// The version of the row that it was made from; 0 for what has none.
    pub version: i64,
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body, etag, version } = self;
        f.debug_struct("Cached").field("bytes", &body.len()).field("etag", etag).field("version", version).finish()
    }
}

impl Cached {
    /// Finished bytes with their tag and version.
    #[must_use]
    pub fn new(body: Bytes, etag: Option<String>, version: i64) -> Self {
        Self { body, etag: etag.map(Bytes::from), version }
    }
}

/// What a copy in Redis says of itself, so that whoever reads it can judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The database whose versions and transactions these are.
    pub(super) generation: i64,
    /// Every change by a transaction below this one is in the copy.
    pub(super) as_of: i64,
    /// When its time is over, in milliseconds since 1970. Clocks of replicas differ by far less than a life.
    pub(super) ends: u64,
}

impl Stamp {
    pub(super) fn new(generation: i64, as_of: i64, life: Duration) -> Self {
        Self { generation, as_of, ends: unix_milliseconds(SystemTime::now() + life) }
    }

    /// What is left of the copy's life.
    pub(super) fn left(&self) -> Duration {
        Duration::from_millis(self.ends.saturating_sub(unix_milliseconds(SystemTime::now())))
    }
}

fn unix_milliseconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, milliseconds)
}

pub(super) fn encode(cached: &Cached, stamp: Stamp) -> Bytes {
    let etag = cached.etag.as_deref().unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(35 + etag.len() + cached.body.len());
    bytes.put_u8(FORM);
    bytes.put_i64(stamp.generation);
    bytes.put_i64(stamp.as_of);
    bytes.put_u64(stamp.ends);
    bytes.put_i64(cached.version);
    // Tags are made from version numbers: far shorter than 65535.
    bytes.put_u16(etag.len().try_into().unwrap_or(0));
    bytes.put_slice(etag);
    bytes.put_slice(&cached.body);
    bytes.freeze()
}

pub(super) fn decode(mut bytes: Bytes) -> Option<(Cached, Stamp)> {
    if bytes.try_get_u8().ok()? != FORM {
        return None;
    }
    let generation = bytes.try_get_i64().ok()?;
    let as_of = bytes.try_get_i64().ok()?;
    let ends = bytes.try_get_u64().ok()?;
    let version = bytes.try_get_i64().ok()?;
    let length = usize::from(bytes.try_get_u16().ok()?);
    if bytes.len() < length {
        return None;
    }
    let etag = bytes.split_to(length);
    let etag = (!etag.is_empty()).then_some(etag);
    Some((Cached { body: bytes, etag, version }, Stamp { generation, as_of, ends }))
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
        /// Every change by a transaction below this one was seen by the load; 0 for what is not judged by changes.
        as_of: i64,
    },
    /// It is not there; that is kept too, briefly.
    Absent,
}

impl Loaded {
    /// Something that no change makes worthless before its time is over.
    #[must_use]
    pub const fn for_a_while(cached: Cached, ttl: Duration) -> Self {
        Self::Found { cached, ttl, as_of: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_in_redis_round_trips_and_foreign_bytes_are_a_miss() {
        let stamp = Stamp { generation: -7, as_of: 9, ends: 11 };
        for etag in [None, Some("\"v7\"".to_owned())] {
            let cached = Cached::new(Bytes::from_static(b"{\"a\":1}"), etag, 7);
            let (read, of) = decode(encode(&cached, stamp)).unwrap();
            assert_eq!((read.body, read.etag, read.version, of), (cached.body, cached.etag, 7, stamp));
        }
        let mut short = vec![FORM; 33];
        short.extend([0xff, 0xff, b'x']);
        for foreign in [&b""[..], b"\x02", b"{\"json\":1}", &short] {
            assert!(decode(Bytes::copy_from_slice(foreign)).is_none());
        }
        assert_eq!(stamp.left(), Duration::ZERO);
    }
}
