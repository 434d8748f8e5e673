//! When connections were last lost. A restart, a failover or an administrator ends many at once, so after one was found broken
//! each of the others is tested before its next use.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::error::Error;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Milliseconds after `START` of the last lost connection, plus one; 0: none was lost.
static LAST: AtomicU64 = AtomicU64::new(0);
/// The same of the last server that was found to be read-only.
static LAST_READ_ONLY: AtomicU64 = AtomicU64::new(0);
/// While a server stays read-only, its connections are replaced this often at most.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);

/// Takes note of an error that says that a connection is lost or leads to the wrong server.
pub(super) fn note(error: &Error) {
    if error.is_read_only() {
        if since(&LAST_READ_ONLY).is_none_or(|elapsed| elapsed > REPLACE_INTERVAL) {
            LAST_READ_ONLY.store(now() + 1, Ordering::Release);
            COUNT.fetch_add(1, Ordering::AcqRel);
        }
    } else if error.is_broken_connection() {
        LAST.store(now() + 1, Ordering::Release);
        COUNT.fetch_add(1, Ordering::AcqRel);
    } else if error.is_pool_timeout() {
        // It says nothing of the connections that are open.
        COUNT.fetch_add(1, Ordering::AcqRel);
    }
}

/// How many were noted.
pub(super) fn count() -> u64 {
    COUNT.load(Ordering::Acquire)
}

/// Whether a connection was lost within this time.
pub(super) fn within(time: Duration) -> bool {
    since(&LAST).is_some_and(|elapsed| elapsed <= time)
}

/// Whether a server was found to be read-only within this time.
pub(super) fn read_only_within(time: Duration) -> bool {
    since(&LAST_READ_ONLY).is_some_and(|elapsed| elapsed <= time)
}

fn since(last: &AtomicU64) -> Option<Duration> {
    let last = last.load(Ordering::Acquire).checked_sub(1)?;
    Some(Duration::from_millis(now().saturating_sub(last)))
}

fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
}
