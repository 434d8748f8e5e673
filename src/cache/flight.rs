//! Single flight: callers that miss the same key at the same time share one load.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use super::LoadLost;
use super::value::Cached;

/// A flight older than this is joined by nobody: what it brings may be older than who asks now may get.
const JOINED_FOR: Duration = Duration::from_millis(500);

/// Tells a flight from an earlier one of the same key.
pub(super) type Id = u64;

/// What a flight brings; the type of its error is erased, since one table holds all flights.
type Landing = Shared<BoxFuture<'static, Option<Arc<dyn Any + Send + Sync>>>>;

#[derive(Default)]
pub(super) struct Flights {
    table: Mutex<Table>,
}

impl std::fmt::Debug for Flights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

struct Flight {
    id: Id,
    started: Instant,
    landing: Landing,
}

#[derive(Default)]
struct Table {
    under_way: HashMap<String, Flight>,
    last: Id,
}

impl Flights {
    /// No code under this lock panics but by running out of memory, so a poisoned table is whole.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight of a key or starts one; `true` when it was joined.
    pub(super) fn join<E, F, Fut>(
        &self,
        key: &str,
        start: F,
    ) -> (impl Future<Output = Result<Option<Cached>, Arc<E>>> + use<E, F, Fut>, bool)
    where
        E: From<LoadLost> + Send + Sync + 'static,
        F: FnOnce(Id) -> Fut,
        Fut: Future<Output = Result<Option<Cached>, Arc<E>>> + Send + 'static,
    {
        let mut table = self.table();
        let young = table.under_way.get(key).filter(|flight| flight.started.elapsed() < JOINED_FOR);
        let (landing, joined) = if let Some(Flight { landing, .. }) = young {
            (landing.clone(), true)
        } else {
            table.last += 1;
            let id = table.last;
            // A task of its own: the caller that started it may go away, those that joined must not suffer.
            let task = tokio::spawn(start(id));
            let landing = async move {
                let result = task.await.ok()?;
                Some(Arc::new(result) as Arc<dyn Any + Send + Sync>)
            };
            let landing = landing.boxed().shared();
            let flight = Flight { id, started: Instant::now(), landing: landing.clone() };
            table.under_way.insert(key.to_owned(), flight);
            (landing, false)
        };
        drop(table);
        let result = async move {
            let landed = landing.await.and_then(|any| any.downcast::<Result<Option<Cached>, Arc<E>>>().ok());
            landed.map_or_else(|| Err(Arc::new(E::from(LoadLost))), |result| (*result).clone())
        };
        (result, joined)
    }

    /// Ends a flight; `keep` runs only if nothing outdated it, and nothing can outdate it meanwhile.
    pub(super) fn land(&self, key: &str, id: Id, keep: impl FnOnce()) -> bool {
        let mut table = self.table();
        let current = table.under_way.get(key).is_some_and(|flight| flight.id == id);
        if current {
            table.under_way.remove(key);
            keep();
        }
        current
    }

    /// Runs something while no change can be taken in.
    pub(super) fn holding<T>(&self, work: impl FnOnce() -> T) -> T {
        let _table = self.table();
        work()
    }

    /// Outdates every flight.
    pub(super) fn outdate_all(&self, forget: impl FnOnce()) {
        let mut table = self.table();
        table.under_way.clear();
        forget();
    }

    /// Takes a key's flight from the table: what it brings is given to those who wait, and not kept.
    pub(super) fn outdate(&self, key: &str, forget: impl FnOnce()) {
        let mut table = self.table();
        table.under_way.remove(key);
        forget();
    }
}
