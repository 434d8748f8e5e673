//! The in-process tier: bounded in bytes, each value with its own end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;
use moka::policy::Expiry;
use moka::sync::Cache;

use super::value::Cached;
use crate::telemetry::catalogue::cache::{CACHE_BYTES, CACHE_ENTRIES, CACHE_EVICTIONS};
use crate::telemetry::catalogue::labels::{Cause, Tier};

/// What moka keeps beside key and value, by its documentation and `size_of`; an estimate, on the safe side.
const OVERHEAD: usize = 256;

/// A value (`None`: known to be absent), how long it lives, and how often it was read since that was asked last.
#[derive(Debug)]
struct Slot {
    value: Option<Cached>,
    ttl: Duration,
    reads: AtomicU32,
}

/// Reads of what has left since that was asked last, by key.
type Gone = Arc<Mutex<HashMap<String, u64>>>;

struct ByTtl;

impl Expiry<String, Arc<Slot>> for ByTtl {
    fn expire_after_create(&self, _: &String, slot: &Arc<Slot>, _: Instant) -> Option<Duration> {
        Some(slot.ttl)
    }

    fn expire_after_update(&self, _: &String, slot: &Arc<Slot>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(slot.ttl)
    }
}

/// One of the tier's two stores; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct L1 {
    slots: Cache<String, Arc<Slot>, foldhash::fast::RandomState>,
    gone: Gone,
}

impl L1 {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |key: &String, slot: &Arc<Slot>| {
            let body = slot.value.as_ref().map_or(0, |cached| cached.body.len());
            u32::try_from(key.len() + body + OVERHEAD).unwrap_or(u32::MAX)
        };
        let gone = Gone::default();
        let reads = Arc::clone(&gone);
        let leaves = move |key: Arc<String>, slot: Arc<Slot>, cause| {
            match cause {
                RemovalCause::Size => CACHE_EVICTIONS.increment((Cause::Size,)),
                RemovalCause::Expired => CACHE_EVICTIONS.increment((Cause::Expired,)),
                RemovalCause::Explicit => CACHE_EVICTIONS.increment((Cause::Invalidated,)),
                RemovalCause::Replaced => {}
            }
            note(&reads, &key, slot.reads.swap(0, Ordering::Relaxed));
        };
        let builder = Cache::builder().max_capacity(max_bytes).weigher(weigh).expire_after(ByTtl);
        let slots = builder.eviction_listener(leaves).build_with_hasher(foldhash::fast::RandomState::default());
        Self { slots, gone }
    }

    /// `Some(None)`: known to be absent.
    #[allow(clippy::option_option, reason = "not looked up, known to be absent, known: three cases")]
    pub(super) fn peek(&self, key: &str) -> Option<Option<Cached>> {
        self.slots.get(key).map(|slot| {
            slot.reads.fetch_add(1, Ordering::Relaxed);
            slot.value.clone()
        })
    }

    pub(super) fn put(&self, key: String, value: Option<Cached>, ttl: Duration) {
        self.slots.insert(key, Arc::new(Slot { value, ttl, reads: AtomicU32::new(0) }));
    }

    pub(super) fn remove(&self, key: &str) {
        self.slots.invalidate(key);
    }

    /// Drops what is older than a version; also what is known to be absent.
    pub(super) fn remove_older(&self, key: &str, version: i64) {
        if self.slots.get(key).is_some_and(|slot| slot.value.as_ref().is_none_or(|cached| cached.version < version)) {
            self.slots.invalidate(key);
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.slots.contains_key(key)
    }

    /// How often each key was read here since this was asked last.
    pub(super) fn take_reads(&self) -> HashMap<String, u64> {
        for (key, slot) in &self.slots {
            note(&self.gone, &key, slot.reads.swap(0, Ordering::Relaxed));
        }
        std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn clear(&self) {
        self.slots.invalidate_all();
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        self.slots.run_pending_tasks();
        (self.slots.entry_count(), self.slots.weighted_size())
    }
}

fn note(gone: &Gone, key: &str, reads: u32) {
    if reads > 0 {
        let mut gone = gone.lock().unwrap_or_else(PoisonError::into_inner);
        *gone.entry(key.to_owned()).or_default() += u64::from(reads);
    }
}

/// Publishes the tier's gauges.
pub(super) fn observe(stores: &[&L1]) {
    let (entries, bytes) =
        stores.iter().map(|store| store.size()).fold((0, 0), |(n, sum), (entries, bytes)| (n + entries, sum + bytes));
    let gauge = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    CACHE_ENTRIES.set((Tier::L1,), gauge(entries));
    // In KiB first, since the figure may not fit 32 bits.
    CACHE_BYTES.set((Tier::L1,), gauge(bytes / 1024) * 1024.0);
}
