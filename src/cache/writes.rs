//! Writes that Redis refuses although it answers: it is full, only reads, or does not permit them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::RedisError;

use crate::telemetry::catalogue::cache::{CACHE_REDIS_WRITABLE, CACHE_REDIS_WRITE_FAILURES};
use crate::telemetry::catalogue::labels::RedisFailure;

/// Why a command failed. All but [`RedisFailure::Unavailable`] are answers of a server that works otherwise.
pub(super) fn failure(error: &RedisError) -> RedisFailure {
    match error.code() {
        Some("OOM") => RedisFailure::Memory,
        Some("READONLY") => RedisFailure::ReadOnly,
        Some("NOPERM") => RedisFailure::Permission,
        Some("MISCONF") => RedisFailure::Persistence,
        Some("NOREPLICAS") => RedisFailure::Replicas,
        _ => RedisFailure::Unavailable,
    }
}

/// The reason in words, for the log, for /ready and for callers.
pub(super) const fn words(reason: RedisFailure) -> &'static str {
    match reason {
        RedisFailure::Memory => "Redis refuses writes: it is out of memory (OOM)",
        RedisFailure::ReadOnly => "Redis refuses writes: it is a read-only replica (READONLY)",
        RedisFailure::Permission => "Redis refuses writes: its user lacks a permission (NOPERM)",
        RedisFailure::Persistence => "Redis refuses writes: it cannot save its data to disk (MISCONF)",
        RedisFailure::Replicas => "Redis refuses writes: too few of its replicas are connected (NOREPLICAS)",
        RedisFailure::Unavailable => "Redis does not answer",
    }
}

/// Whether writes are refused, and a write to try again.
#[derive(Debug, Default)]
pub(super) struct Writes(Mutex<Option<Refused>>);

#[derive(Debug, Clone)]
struct Refused {
    reason: RedisFailure,
    command: &'static str,
    key: String,
}

impl Writes {
    fn state(&self) -> MutexGuard<'_, Option<Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a write that failed. The first refusal is logged and kept: nodes of a cluster may refuse for different reasons.
    pub(super) fn failed(&self, command: &'static str, key: &str, reason: RedisFailure) {
        CACHE_REDIS_WRITE_FAILURES.increment((reason,));
        if reason == RedisFailure::Unavailable {
            return;
        }
        let mut state = self.state();
        if state.is_none() {
            tracing::warn!(command, "{}; no session is opened or closed until it accepts them", words(reason));
            *state = Some(Refused { reason, command, key: key.to_owned() });
            CACHE_REDIS_WRITABLE.set((), 0.0);
        }
    }

    pub(super) fn refused(&self) -> Option<RedisFailure> {
        self.state().as_ref().map(|refused| refused.reason)
    }

    /// The refused command and a key of the same slot that holds nothing.
    pub(super) fn sample(&self) -> Option<(&'static str, String)> {
        self.state().as_ref().map(|refused| (refused.command, format!("{}:probe", refused.key)))
    }

    pub(super) fn accepted(&self) {
        if self.state().take().is_some() {
            tracing::info!("Redis accepts writes again");
        }
        self.report();
    }

    pub(super) fn report(&self) {
        CACHE_REDIS_WRITABLE.set((), if self.refused().is_none() { 1.0 } else { 0.0 });
    }
}
