//! The tiers together: where a lookup goes, and what is kept of it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use super::keys::Policy as _;
use super::ledger::{Ledger, Verdict};
use super::value::{Cached, Loaded, Stamp};
use super::{flight, l1, l2, ttl};
use crate::telemetry::catalogue::cache::{CACHE_LOAD_DURATION, CACHE_REFUSED, CACHE_REQUESTS};
use crate::telemetry::catalogue::labels::{Class, Lookup, Refusal, Tier};

/// Redis did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered;

#[derive(Debug)]
pub(super) struct Tiers {
    pub(super) copies: l1::L1,
    pub(super) identities: l1::L1,
    pub(super) l2: Option<Arc<l2::L2>>,
    pub(super) flights: flight::Flights,
    pub(super) ledger: Ledger,
    pub(super) coherent: bool,
}

impl Tiers {
    /// Whether copies of a class may be served now.
    pub(super) fn is_usable(&self, class: Class) -> bool {
        !(self.coherent && class.is_judged()) || self.ledger.is_confirmed()
    }

    pub(super) fn store(&self, class: Class) -> &l1::L1 {
        if class.is_identity() { &self.identities } else { &self.copies }
    }

    /// The Redis tier, if a class has copies there.
    pub(super) fn shared(&self, class: Class) -> Option<&l2::L2> {
        self.l2.as_deref().filter(|_| class.is_shared())
    }

    /// Longest life in process of what was loaded from below. What is judged is dropped when it changes; of the rest a
    /// change elsewhere is not heard of.
    pub(super) fn in_process(&self, class: Class, life: Duration) -> Duration {
        if self.coherent && class.is_judged() { life } else { life.min(ttl::IN_PROCESS) }
    }

    /// Finds the value below the in-process tier, and keeps it unless it was outdated meanwhile.
    pub(super) async fn fly<E>(
        &self,
        flight: flight::Id,
        class: Class,
        text: String,
        usable: bool,
        load: impl Future<Output = Result<Loaded, E>>,
    ) -> Result<Option<Cached>, Arc<E>> {
        // Before the load: a label that is too old is refused by readers, one that is too new would not be.
        let generation = self.ledger.generation();
        if usable && let Ok(Some((found, left))) = self.redis_lookup(class, &text).await {
            Span::current().record("cache.answered_by", "l2");
            let life = self.in_process(class, left);
            self.flights.land(&text, flight, || self.store(class).put(text.clone(), Some(found.clone()), life));
            return Ok(Some(found));
        }
        Span::current().record("cache.answered_by", "loaded");
        let started = Instant::now();
        let loaded = load.await;
        CACHE_LOAD_DURATION.observe((class,), started.elapsed());
        let (value, life, as_of) = match loaded {
            Ok(Loaded::Found { cached, ttl, as_of }) => (Some(cached), ttl::jittered(ttl), as_of),
            Ok(Loaded::Absent) => (None, ttl::jittered(ttl::ABSENT), 0),
            Err(error) => {
                self.flights.land(&text, flight, || ());
                return Err(Arc::new(error));
            }
        };
        let in_process = self.in_process(class, life);
        self.flights.land(&text, flight, || self.store(class).put(text.clone(), value.clone(), in_process));
        if let (Some(l2), Some(cached)) = (self.shared(class), &value) {
            l2.put(&text, cached, Stamp::new(generation, as_of, life), life).await;
        }
        Ok(value)
    }

    /// A copy from Redis that may be served, and what is left of its life.
    pub(super) async fn redis_lookup(
        &self,
        class: Class,
        text: &str,
    ) -> Result<Option<(Cached, Duration)>, Unanswered> {
        let Some(l2) = self.shared(class) else { return Ok(None) };
        let found = l2.fetch_remote(text).await;
        let (found, lookup) = match found {
            Ok(Some((cached, stamp))) => match self.verdict(class, text, &cached, stamp) {
                Verdict::Current => (Some((cached, stamp.left())), Lookup::Hit),
                Verdict::Old => {
                    CACHE_REFUSED.increment((Refusal::Old,));
                    (None, Lookup::Miss)
                }
                Verdict::Unknown => {
                    CACHE_REFUSED.increment((Refusal::Unknown,));
                    (None, Lookup::Miss)
                }
            },
            Ok(None) => (None, Lookup::Miss),
            Err(()) => (None, Lookup::Error),
        };
        CACHE_REQUESTS.increment((class, Tier::L2, lookup));
        if lookup == Lookup::Error { Err(Unanswered) } else { Ok(found) }
    }

    pub(super) fn verdict(&self, class: Class, text: &str, cached: &Cached, stamp: Stamp) -> Verdict {
        if self.coherent && class.is_judged() {
            return self.ledger.judge(text, cached.version, stamp);
        }
        // Sums may be as old as their time allows, but not of a database that a restore has replaced. A session is of none.
        if self.coherent && !class.is_identity() && stamp.generation != self.ledger.generation() {
            return Verdict::Unknown;
        }
        Verdict::Current
    }
}
