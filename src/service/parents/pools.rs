//! The pools of a process: the active entries of each service in the form that draws.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex;

use crate::domain::selection::Pool;
use crate::store::archive::Followed;
use crate::telemetry::catalogue::cache::SELECTION_BYTES;
use crate::telemetry::catalogue::figure;

/// Bytes of a pool beside its entries, so that those of services that do not exist are bounded too.
const HELD: usize = 1024;

/// A pool and up to where it has followed the changes.
pub(super) struct Held {
    pub(super) pool: Pool,
    pub(super) followed: Followed,
    /// When that was asked for.
    pub(super) followed_at: Instant,
}

/// The pools of a process, by service.
#[derive(Clone)]
pub(super) struct Pools(Arc<Lock<Table>>);

struct Table {
    pools: HashMap<String, Entry>,
    /// Of all pools.
    bytes: usize,
    max_bytes: usize,
}

struct Entry {
    held: Arc<Mutex<Option<Held>>>,
    bytes: usize,
    used: Instant,
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl Pools {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Lock::new(Table { pools: HashMap::new(), bytes: 0, max_bytes })))
    }

    /// The pool of a service, which may have to be loaded.
    pub(super) fn of(&self, service: &str) -> Arc<Mutex<Option<Held>>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Entry { held: Arc::default(), bytes: 0, used: Instant::now() };
        let entry = table.pools.entry(service.to_owned()).or_insert_with(new);
        entry.used = Instant::now();
        Arc::clone(&entry.held)
    }

    /// Notes the size of a service's pool, and forgets those that were not used for longest until all fit. One that is
    /// larger than all may be is kept while it is used.
    pub(super) fn make_room(&self, service: &str, bytes: usize) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        // One that was forgotten meanwhile is gone when its last user is.
        if let Some(entry) = table.pools.get_mut(service) {
            table.bytes += bytes + HELD;
            table.bytes -= std::mem::replace(&mut entry.bytes, bytes + HELD);
        }
        while table.bytes > table.max_bytes {
            let others = table.pools.iter().filter(|(name, _)| *name != service);
            let Some(oldest) = others.min_by_key(|(_, entry)| entry.used).map(|(name, _)| name.clone()) else { break };
            table.bytes -= table.pools.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        SELECTION_BYTES.set((), figure(table.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_makes_the_longest_unused_go() {
        let pools = Pools::new(10 * HELD);
        let held = |service: &str| {
            let table = pools.0.lock().unwrap();
            (table.pools.contains_key(service), table.bytes)
        };
        for service in ["first", "second", "third"] {
            pools.of(service);
            pools.make_room(service, HELD);
        }
        assert_eq!(held("first"), (true, 6 * HELD));
        pools.of("first");
        // It grew while it followed what changed.
        pools.make_room("third", 6 * HELD);
        assert_eq!(held("second"), (false, 9 * HELD));
        assert!(held("first").0);
        // One that was forgotten while somebody drew from it counts no more.
        pools.make_room("second", 5 * HELD);
        assert_eq!(held("second"), (false, 9 * HELD));
        // The one in use stays, however large.
        pools.make_room("third", 100 * HELD);
        assert_eq!(held("third"), (true, 101 * HELD));
        assert!(!held("first").0);
        pools.make_room("third", HELD);
        assert_eq!(held("third"), (true, 2 * HELD));
    }
}
