//! What follows from reading entries, off the path of requests: what will be read next is fetched, reads are counted.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::archive::finished;
use super::{Error, Service};
use crate::cache::{Key, ttl};
use crate::store::archive::Seen;
use crate::telemetry::catalogue::cache::CACHE_PREFETCHED;

/// Wishes that may wait; more are dropped, since a prefetch that is late is worth nothing.
const WISHES: usize = 256;
/// Wishes of one statement.
const AT_ONCE: usize = 32;
/// Entries of one statement that counts reads.
const COUNTED_AT_ONCE: usize = 1000;
/// Entries that are fetched before anybody asks, the most read ones.
const WARM: i64 = 1000;

/// Somebody read this entry from the database.
#[derive(Debug)]
struct Wish {
    id: String,
    parent: Option<String>,
}

/// The wishes of a process.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    sender: mpsc::Sender<Wish>,
    receiver: Arc<Mutex<mpsc::Receiver<Wish>>>,
}

impl Default for Wishes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WISHES);
        Self { sender, receiver: Arc::new(Mutex::new(receiver)) }
    }
}

impl Wishes {
    /// Somebody read this entry from the database; its parent and its best children may be next.
    pub(super) fn read(&self, Seen { entry, .. }: &Seen) {
        if let Ok(place) = self.sender.try_reserve() {
            let id = entry.summary.archive_entry_id.clone();
            place.send(Wish { id, parent: entry.summary.parent_entry_id.clone() });
        }
    }
}

impl Service {
    /// Fetches the entries that were read most and that this process does not hold; answers how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn warm_cache(&self) -> Result<usize, Error> {
        let mut ids = self.store.most_read(WARM).await?;
        ids.retain(|id| !self.cache.holds(&Key::Entry { id: id.clone() }));
        for ids in ids.chunks(AT_ONCE) {
            self.fetch(ids, &[]).await;
        }
        Ok(ids.len())
    }

    /// Fetches what was wished for, for as long as it is polled.
    pub async fn prefetch(&self) {
        let mut receiver = self.wishes.receiver.lock().await;
        let mut wishes = Vec::with_capacity(AT_ONCE);
        while receiver.recv_many(&mut wishes, AT_ONCE).await > 0 {
            let missing = |id: &String| !self.cache.holds(&Key::Entry { id: id.clone() });
            let parents: Vec<String> =
                wishes.iter_mut().filter_map(|wish| wish.parent.take()).filter(missing).collect();
            let of: Vec<String> = wishes.drain(..).map(|wish| wish.id).collect();
            self.fetch(&parents, &of).await;
        }
    }

    async fn fetch(&self, ids: &[String], parents: &[String]) {
        let generation = self.cache.generation();
        let found = match self.store.neighbours(ids, parents).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "nothing was prefetched"),
        };
        for Seen { entry, as_of } in found {
            let ttl = ttl::by_quality(entry.summary.accuracy_score, entry.summary.constitutional_compliance_score);
            let Ok(cached) = finished(&entry) else { continue };
            let key = Key::Entry { id: entry.summary.archive_entry_id };
            self.cache.offer(&key, cached, ttl, as_of, generation).await;
            CACHE_PREFETCHED.increment(());
        }
    }

    /// Writes down how often entries were read since the last time; answers how many entries. What cannot be written is not kept: these are
    /// statistics, and memory is bounded.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn flush_reads(&self) -> Result<usize, Error> {
        let mut reads = self.cache.take_entry_reads();
        reads.sort_unstable();
        for some in reads.chunks(COUNTED_AT_ONCE) {
            self.store.count_reads(some).await?;
        }
        Ok(reads.len())
    }
}
