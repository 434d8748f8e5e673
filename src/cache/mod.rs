//! The cache: typed keys, finished bytes, an in-process tier and, when there is one, Redis below it.
//!
//! What a write in this process changed is visible to its own next read: [`Cache::invalidate`] ends before the write is
//! answered, and a load that began before it can neither be joined by later readers nor leave its value behind. Changes
//! by other processes that share the Redis are seen after [`ttl::IN_PROCESS`] at most.

mod flight;
mod keys;
mod l1;
mod l2;
#[cfg(test)]
mod tests;
pub mod ttl;
mod value;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use keys::Key;
pub use redis::RedisError;
pub use value::{Cached, Loaded};

use crate::telemetry::catalogue::cache::{CACHE_COALESCED, CACHE_LOAD_DURATION, CACHE_REQUESTS};
use crate::telemetry::catalogue::labels::{Class, Lookup, Tier};

/// How the cache is built.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Size of the in-process tier, in bytes.
    pub max_bytes: u64,
    /// Redis, if there is one.
    pub redis_url: Option<String>,
}

/// How Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisStatus {
    /// There is none.
    Disabled,
    /// It answers.
    Up,
    /// It does not; everything goes on without it.
    Down,
}

/// The cache; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    l1: l1::L1,
    l2: Option<Arc<l2::L2>>,
    flights: Arc<flight::Flights>,
}

impl Cache {
    /// A cache; Redis is connected to when first asked.
    ///
    /// # Errors
    /// When the URL is no Redis URL.
    pub fn new(settings: &Settings) -> Result<Self, RedisError> {
        let l2 = settings.redis_url.as_deref().map(l2::L2::new).transpose()?;
        Ok(Self { l1: l1::L1::new(settings.max_bytes), l2, flights: Arc::default() })
    }

    /// The value of a key: from the in-process tier, from Redis, or loaded; `None` when there is none. Callers that ask
    /// at the same time share one load, which goes on when the one that started it goes away.
    ///
    /// # Errors
    /// What the load says, to all that wait for it; it is not kept.
    pub async fn get_or_load<E, F, Fut>(&self, key: &Key, load: F) -> Result<Option<Cached>, Arc<E>>
    where
        E: From<LoadLost> + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded, E>> + Send + 'static,
    {
        let text = key.text();
        if let Some(found) = self.l1.get(&text) {
            CACHE_REQUESTS.increment((key.class(), Tier::L1, Lookup::Hit));
            return Ok(found);
        }
        CACHE_REQUESTS.increment((key.class(), Tier::L1, Lookup::Miss));
        let (cache, class) = (self.clone(), key.class());
        let start = move |flight: flight::Id| async move {
            if let Some(found) = cache.redis_lookup(class, &text).await {
                let life = ttl::jittered(ttl::IN_PROCESS);
                cache.flights.land(&text, flight, || cache.l1.put(text.clone(), Some(found.clone()), life));
                return Ok(Some(found));
            }
            let started = Instant::now();
            let loaded = load().await;
            CACHE_LOAD_DURATION.observe((class,), started.elapsed());
            let (value, life) = match loaded {
                Ok(Loaded::Found { cached, ttl }) => (Some(cached), ttl),
                Ok(Loaded::Absent) => (None, ttl::ABSENT),
                Err(error) => {
                    cache.flights.land(&text, flight, || ());
                    return Err(Arc::new(error));
                }
            };
            if let (Some(l2), Some(cached)) = (&cache.l2, &value) {
                l2.put(&text, cached, ttl::jittered(life)).await;
            }
            let in_process = ttl::jittered(life.min(ttl::IN_PROCESS));
            let fresh = cache.flights.land(&text, flight, || cache.l1.put(text.clone(), value.clone(), in_process));
            if let (false, Some(l2), Some(_)) = (fresh, &cache.l2, &value) {
                // Invalidated while it was on its way: Redis may have got the old value after the deletion.
                l2.delete(std::slice::from_ref(&text)).await;
            }
            Ok(value)
        };
        let (result, joined) = self.flights.join(&key.text(), start);
        if joined {
            CACHE_COALESCED.increment((key.class(),));
        }
        result.await
    }

    async fn redis_lookup(&self, class: Class, text: &str) -> Option<Cached> {
        let found = self.l2.as_ref()?.get(text).await;
        let (found, lookup) = match found {
            Ok(Some(found)) => (Some(found), Lookup::Hit),
            Ok(None) => (None, Lookup::Miss),
            Err(()) => (None, Lookup::Error),
        };
        CACHE_REQUESTS.increment((class, Tier::L2, lookup));
        found
    }

    /// The value of a key that is kept here only, as sessions are.
    pub async fn get(&self, key: &Key) -> Option<Cached> {
        let text = key.text();
        if let Some(Some(found)) = self.l1.get(&text) {
            CACHE_REQUESTS.increment((key.class(), Tier::L1, Lookup::Hit));
            return Some(found);
        }
        CACHE_REQUESTS.increment((key.class(), Tier::L1, Lookup::Miss));
        self.redis_lookup(key.class(), &text).await
    }

    /// Keeps a value that is kept here only. With Redis it is there that it lives, for all replicas.
    pub async fn put(&self, key: &Key, cached: Cached, ttl: Duration) {
        let text = key.text();
        let in_process = if self.l2.is_some() { ttl.min(ttl::IN_PROCESS) } else { ttl };
        if let Some(l2) = &self.l2 {
            l2.put(&text, &cached, ttl).await;
        }
        self.l1.put(text, Some(cached), in_process);
    }

    /// Drops keys from both tiers. Redis first: a load that read it before the deletion is outdated or dropped after it.
    pub async fn invalidate(&self, keys: &[Key]) {
        let texts: Vec<String> = keys.iter().map(Key::text).collect();
        if let Some(l2) = self.l2.as_ref().filter(|_| !texts.is_empty()) {
            l2.delete(&texts).await;
        }
        for text in &texts {
            self.flights.outdate(text, || self.l1.remove(text));
        }
    }

    /// How Redis is, by the last calls.
    #[must_use]
    pub fn redis_status(&self) -> RedisStatus {
        match &self.l2 {
            None => RedisStatus::Disabled,
            Some(l2) if l2.is_up() => RedisStatus::Up,
            Some(_) => RedisStatus::Down,
        }
    }

    /// Asks Redis whether it is there, with more patience than a request has.
    pub async fn probe(&self) {
        if let Some(l2) = &self.l2 {
            l2.probe().await;
        }
    }

    /// Publishes the gauges.
    pub fn observe(&self) {
        self.l1.observe();
    }
}

/// The task of a load was cut off, as at the end of the process.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the load was cut off")]
pub struct LoadLost;
