//! The in-process tier: bounded in bytes, each value with its own end.

use std::time::{Duration, Instant};

use moka::notification::RemovalCause;
use moka::policy::Expiry;
use moka::sync::Cache;

use super::value::Cached;
use crate::telemetry::catalogue::cache::{CACHE_BYTES, CACHE_ENTRIES, CACHE_EVICTIONS};
use crate::telemetry::catalogue::labels::{Cause, Tier};

/// What moka keeps beside key and value, by its documentation and `size_of`; an estimate, on the safe side.
const OVERHEAD: usize = 256;

/// A value (`None`: known to be absent) and how long it lives.
#[derive(Debug, Clone)]
struct Slot {
    value: Option<Cached>,
    ttl: Duration,
}

struct ByTtl;

impl Expiry<String, Slot> for ByTtl {
    fn expire_after_create(&self, _: &String, slot: &Slot, _: Instant) -> Option<Duration> {
        Some(slot.ttl)
    }

    fn expire_after_update(&self, _: &String, slot: &Slot, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(slot.ttl)
    }
}

#[derive(Debug, Clone)]
pub(super) struct L1(Cache<String, Slot>);

impl L1 {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |key: &String, slot: &Slot| {
            let body = slot.value.as_ref().map_or(0, |cached| cached.body.len());
            u32::try_from(key.len() + body + OVERHEAD).unwrap_or(u32::MAX)
        };
        let gone = |_, _, cause| match cause {
            RemovalCause::Size => CACHE_EVICTIONS.increment((Cause::Size,)),
            RemovalCause::Expired => CACHE_EVICTIONS.increment((Cause::Expired,)),
            RemovalCause::Explicit => CACHE_EVICTIONS.increment((Cause::Invalidated,)),
            RemovalCause::Replaced => {}
        };
        let builder = Cache::builder().max_capacity(max_bytes).weigher(weigh).expire_after(ByTtl);
        Self(builder.eviction_listener(gone).build())
    }

    /// `Some(None)`: known to be absent.
    #[allow(clippy::option_option, reason = "not looked up, known to be absent, known: three cases")]
    pub(super) fn get(&self, key: &str) -> Option<Option<Cached>> {
        self.0.get(key).map(|slot| slot.value)
    }

    pub(super) fn put(&self, key: String, value: Option<Cached>, ttl: Duration) {
        self.0.insert(key, Slot { value, ttl });
    }

    pub(super) fn remove(&self, key: &str) {
        self.0.invalidate(key);
    }

    /// Publishes the tier's gauges.
    pub(super) fn observe(&self) {
        self.0.run_pending_tasks();
        let gauge = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        CACHE_ENTRIES.set((Tier::L1,), gauge(self.0.entry_count()));
        // In KiB first, since the figure may not fit 32 bits.
        CACHE_BYTES.set((Tier::L1,), gauge(self.0.weighted_size() / 1024) * 1024.0);
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.weighted_size()
    }
}
