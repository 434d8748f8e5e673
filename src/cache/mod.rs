//! The cache: typed keys, finished bytes, an in-process tier and, when there is one, Redis below it.
//!
//! What a write in this process changed is visible to its own next read: [`Cache::wrote`] ends before the write is
//! answered, and a load that began before it can neither be joined by later readers nor leave its value behind. Changes
//! by others, psql among them, come as [`News`] from the database; copies of entries are served only while news are
//! confirmed, and none that the [`ledger`] knows to be old. So no answer is older than [`BOUND`], whatever happens to
//! Redis, to messages or to connections.

mod breaker;
mod connection;
mod flight;
mod info;
mod keys;
mod l1;
mod l2;
mod ledger;
#[cfg(test)]
mod tests;
mod tiers;
pub mod ttl;
mod value;
mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use tracing::field::Empty;

pub use keys::Key;
pub use ledger::{BOUND, Change, MOST_CHANGES, News};
pub use redis::RedisError;
pub use value::{Cached, Loaded};

use crate::domain::health::RedisStatus;
use crate::telemetry::catalogue::cache::{CACHE_BYPASSED, CACHE_COALESCED, CACHE_CONFIRMED_AGE, CACHE_REQUESTS};
use crate::telemetry::catalogue::labels::{Class, Lookup, Tier};
use crate::telemetry::theirs::Theirs;
use crate::telemetry::{context, spans};
use ledger::Verdict;
use tiers::Tiers;
pub use tiers::Unanswered;
use value::Stamp;
use writes::words;

/// Share of the in-process tier that is for sessions, which entries must not push out: one part in so many.
const IDENTITIES: u64 = 16;

/// See [`Redis::answer_timeout`].
const ANSWER: Duration = Duration::from_millis(250);

/// How the cache is built.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Size of the in-process tier, in bytes.
    pub max_bytes: u64,
    /// Redis, if there is one.
    pub redis: Option<Redis>,
    /// Whether copies of entries are judged by the database's changes. If not, they live until their time is over.
    pub coherent: bool,
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Its URL, or that of a cluster.
    pub url: String,
    /// Certificates (PEM) of the authorities that may have signed its own, in place of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Longest wait for an answer on the path of a request.
    pub timeout: Duration,
}

impl Redis {
    /// Timeout of the library, which frees what waits for a dead peer, and of calls that no request waits for or whose outcome the caller
    /// is told.
    fn answer_timeout(&self) -> Duration {
        self.timeout.max(ANSWER)
    }
}

/// The cache; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Tiers>);

impl Cache {
    /// A cache; Redis is connected to when first asked.
    ///
    /// # Errors
    /// When the URL is no Redis URL, or the certificates are none.
    pub fn new(settings: &Settings) -> Result<Self, RedisError> {
        let l2 = settings.redis.as_ref().map(l2::L2::new).transpose()?;
        let identities = settings.max_bytes / IDENTITIES;
        Ok(Self(Arc::new(Tiers {
            copies: l1::L1::new(settings.max_bytes - identities),
            identities: l1::L1::new(identities),
            l2,
            flights: flight::Flights::default(),
            ledger: ledger::Ledger::new(),
            coherent: settings.coherent,
        })))
    }

    /// The value of a key: from the in-process tier, from Redis, or loaded; `None` when there is none. Callers that ask
    /// at the same time share one load, which goes on when the one that started it goes away. What the load needs is
    /// gathered in `load` itself, which a hit does not call.
    ///
    /// # Errors
    /// What the load says, to all that wait for it; it is not kept.
    pub async fn get_or_load<E, F, Fut>(&self, key: &Key, load: F) -> Result<Option<Cached>, Arc<E>>
    where
        E: From<LoadLost> + Send + Sync + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Loaded, E>> + Send + 'static,
    {
        let (text, class) = (key.text(), key.class());
        let tiers = &self.0;
        let usable = tiers.is_usable(class);
        if usable {
            if let Some(found) = tiers.store(class).peek(&text) {
                CACHE_REQUESTS.increment((class, Tier::L1, Lookup::Hit));
                return Ok(found);
            }
            CACHE_REQUESTS.increment((class, Tier::L1, Lookup::Miss));
        } else {
            CACHE_BYPASSED.increment((class,));
        }
        let span = spans::child!("cache load", cache.class = class.as_str(), cache.answered_by = Empty);
        let (flying, key, below) = (Arc::clone(tiers), text.clone(), span.clone());
        let start = move |flight| {
            let load = load();
            // In a task of its own it is still this request's.
            context::handed_on(async move { flying.fly(flight, class, text, usable, load).await }.instrument(below))
        };
        let (result, joined) = tiers.flights.join(&key, start);
        if joined {
            CACHE_COALESCED.increment((class,));
            span.record("cache.answered_by", "coalesced");
        }
        result.instrument(span).await
    }

    /// The value of a key that is kept here only, as sessions are.
    ///
    /// # Errors
    /// When Redis, where it would be, does not answer.
    pub async fn get(&self, key: &Key) -> Result<Option<Cached>, Unanswered> {
        let (text, class) = (key.text(), key.class());
        if let Some(Some(found)) = self.0.store(class).peek(&text) {
            CACHE_REQUESTS.increment((class, Tier::L1, Lookup::Hit));
            return Ok(Some(found));
        }
        CACHE_REQUESTS.increment((class, Tier::L1, Lookup::Miss));
        Ok(self.0.redis_lookup(class, &text).await?.map(|(found, _)| found))
    }

    /// Keeps a value that is kept here only. With Redis it is there that it lives, for all replicas.
    ///
    /// # Errors
    /// Redis did not store it; nor does this process then keep it.
    pub async fn put(&self, key: &Key, cached: Cached, ttl: Duration) -> Result<(), Unwritten> {
        let (text, class) = (key.text(), key.class());
        let in_process = if self.0.l2.is_some() { ttl.min(ttl::IN_PROCESS) } else { ttl };
        if let Some(l2) = self.0.shared(class) {
            l2.store(&text, &cached, Stamp::new(0, 0, ttl), ttl).await.map_err(|reason| Unwritten(words(reason)))?;
        }
        self.0.store(class).put(text, Some(cached), in_process);
        Ok(())
    }

    /// Notes a change that this process made and is about to acknowledge: from now on no older copy is served here.
    pub async fn wrote(&self, key: &Key, version: i64, transaction: i64) {
        let change = Change { key: key.text(), version, transaction };
        self.0.ledger.wrote(&change);
        if let (false, Some(l2)) = (self.0.coherent, self.0.shared(key.class())) {
            // Tried again until it succeeds, and not read here until then.
            let _ = l2.delete(&change.key).await;
        }
        self.drop_local(key);
    }

    /// Drops what this process holds of a key, or knows to be absent. Copies in Redis stay.
    pub fn drop_local(&self, key: &Key) {
        let text = key.text();
        self.0.flights.outdate(&text, || self.0.store(key.class()).remove(&text));
    }

    /// Drops a key everywhere. Redis first: a lookup that read it before the deletion is outdated after it.
    ///
    /// # Errors
    /// Redis still holds it: other replicas may serve it until this one, which tries again, has deleted it.
    pub async fn delete(&self, key: &Key) -> Result<(), Unwritten> {
        let deleted = match self.0.shared(key.class()) {
            Some(l2) => l2.delete(&key.text()).await.map_err(|reason| Unwritten(words(reason))),
            None => Ok(()),
        };
        self.drop_local(key);
        deleted
    }

    /// Takes in what the database says of changes, drops what they made old, and only then counts as confirmed.
    pub fn learn(&self, news: &News) {
        let tiers = &self.0;
        if tiers.ledger.learn(news) {
            tiers.flights.outdate_all(|| tiers.copies.clear());
        } else {
            for Change { key, version, .. } in &news.changes {
                tiers.flights.outdate(key, || tiers.copies.remove_older(key, *version));
            }
        }
        tiers.ledger.confirm(news.asked);
    }

    /// Whether this process holds a copy of a key.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.0.store(key.class()).contains(&key.text())
    }

    /// To be asked before a load whose result is offered.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.0.ledger.generation()
    }

    /// Keeps what was loaded although nobody asked for it yet, unless it is known to be old.
    pub async fn offer(&self, key: &Key, cached: Cached, ttl: Duration, as_of: i64, generation: i64) {
        let (tiers, text, class, life) = (&self.0, key.text(), key.class(), ttl::jittered(ttl));
        let stamp = Stamp::new(generation, as_of, life);
        // What is learned later drops the copy again, since it waits for the same lock.
        let kept = tiers.flights.holding(|| {
            let current = tiers.verdict(class, &text, &cached, stamp) == Verdict::Current;
            let new = current && !tiers.store(class).contains(&text);
            if new {
                tiers.store(class).put(text.clone(), Some(cached.clone()), tiers.in_process(class, life));
            }
            new
        });
        if let (true, Some(l2)) = (kept, tiers.shared(class)) {
            l2.put(&text, &cached, stamp, life).await;
        }
    }

    /// Whether copies of entries are served now.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.0.is_usable(Class::Entry)
    }

    /// How often each entry was read from this process's tier since this was asked last.
    #[must_use]
    pub fn take_entry_reads(&self) -> Vec<(String, u64)> {
        let reads = self.0.copies.take_reads();
        reads.into_iter().filter_map(|(key, count)| Some((keys::entry_id(&key)?, count))).collect()
    }

    /// How Redis is, by the last calls.
    #[must_use]
    pub fn redis_status(&self) -> RedisStatus {
        match &self.0.l2 {
            None => RedisStatus::Disabled,
            Some(l2) if !l2.is_up() => RedisStatus::Down,
            Some(l2) => l2.refuses_writes().map_or(RedisStatus::Up, |reason| RedisStatus::RefusesWrites(words(reason))),
        }
    }

    /// Asks Redis whether it is there, with more patience than a request has; `false`: none is configured.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn probe(&self) -> Result<bool, redis::RedisError> {
        let Some(l2) = &self.0.l2 else { return Ok(false) };
        l2.probe().await.map(|()| true)
    }

    /// Runs each command that this cache uses; which they are, in words.
    ///
    /// # Errors
    /// Those that Redis refuses, with the reasons: a missing permission (ACL), a replica that only reads, no memory.
    pub async fn probe_commands(&self) -> Result<String, String> {
        let Some(l2) = &self.0.l2 else { return Ok(String::new()) };
        let refused: Vec<String> =
            l2.refused_commands().await.iter().map(|(command, error)| format!("{command}: {error}")).collect();
        if refused.is_empty() { Ok(format!("allows {}", l2::COMMANDS.join(", "))) } else { Err(refused.join("; ")) }
    }

    /// Publishes what Redis tells of itself; nothing without it. What it does not answer keeps its last value.
    pub async fn observe_redis(&self, theirs: &mut Theirs) {
        let Some(l2) = &self.0.l2 else { return };
        if let Some(nodes) = l2.info().await {
            info::observe(&nodes, theirs);
        }
    }

    /// Publishes the gauges.
    pub fn observe(&self) {
        l1::observe(&[&self.0.copies, &self.0.identities]);
        if let Some(age) = self.0.ledger.age() {
            CACHE_CONFIRMED_AGE.set((), age.as_secs_f64());
        }
    }
}

/// Redis did not take a write, for this reason.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0}")]
pub struct Unwritten(pub &'static str);

/// The task of a load was cut off, as at the end of the process.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the load was cut off")]
pub struct LoadLost;
