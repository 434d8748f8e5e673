//! Keeps requests away from a Redis that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::RedisError;

use super::ttl::milliseconds;
use crate::telemetry::catalogue::cache::CACHE_REDIS_UP;

/// So many failures in a row open it.
const FAILURES: u32 = 5;
/// How long it then keeps requests away; afterwards one of them tries. So does the tier itself, since there may be none.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Breaker {
    started: Instant,
    failures: AtomicU32,
    /// Milliseconds since `started` until which Redis is left alone.
    closed_until: AtomicU64,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), failures: AtomicU32::new(0), closed_until: AtomicU64::new(0) }
    }

    /// Whether a call may be made now. When a pause is over the first to ask may, and the others wait for its fate.
    pub(super) fn admits(&self) -> bool {
        if self.is_up() {
            return true;
        }
        let (now, until) = (self.elapsed(), self.closed_until.load(Ordering::Relaxed));
        now >= until
            && self
                .closed_until
                .compare_exchange(until, now + milliseconds(PAUSE), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(super) fn is_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES
    }

    /// Whether the last call failed.
    pub(super) fn is_doubted(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        if self.failures.swap(0, Ordering::Relaxed) >= FAILURES {
            tracing::info!("Redis answers again");
        }
        CACHE_REDIS_UP.set((), 1.0);
    }

    pub(super) fn failed(&self, certain: bool, reason: &RedisError) {
        let more = if certain { FAILURES } else { 1 };
        let before = self.failures.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) < FAILURES {
            return;
        }
        self.closed_until.store(self.elapsed() + milliseconds(PAUSE), Ordering::Relaxed);
        if before < FAILURES {
            tracing::warn!(%reason, "Redis does not answer; going on without it");
            CACHE_REDIS_UP.set((), 0.0);
        } else {
            // Far from overflow, however long it stays away.
            self.failures.store(FAILURES, Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> RedisError {
        RedisError::from((redis::ErrorKind::Io, "gone"))
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_after_the_pause() {
        let mut breaker = Breaker::new();
        (1..FAILURES).for_each(|_| breaker.failed(false, &gone()));
        assert!(breaker.is_up() && breaker.admits());
        breaker.succeeded();
        (1..FAILURES).for_each(|_| breaker.failed(false, &gone()));
        assert!(breaker.is_up(), "a success in between starts the count anew");
        breaker.failed(false, &gone());
        assert!(!breaker.is_up() && !breaker.admits());
        breaker.started = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        assert!(breaker.admits(), "the pause is over");
        assert!(!breaker.admits(), "and one tries at a time");
        breaker.succeeded();
        assert!(breaker.is_up() && breaker.admits());
    }
}
