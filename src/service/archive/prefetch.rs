//! Work that follows from reading entries, outside the request path: prefetching and counting reads.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::ArchiveService;
use crate::cache::{Key, ttl};
use crate::service::error::Error;
use crate::service::render;
use crate::store::archive::Seen;
use crate::telemetry::catalogue::cache::CACHE_PREFETCHED;

/// Prefetch requests that may wait. More are dropped, since a late prefetch is useless.
const QUEUE: usize = 256;
/// Prefetch requests that share one statement.
const BATCH: usize = 32;
/// Entries of one statement that counts reads.
const COUNT_BATCH: usize = 1000;
/// The most read entries, which are fetched before they are requested.
const WARM: i64 = 1000;

/// An entry was read from the database; its neighbours may be read next.
#[derive(Debug)]
struct Request {
    id: String,
    parent: Option<String>,
}

/// The queue of prefetch requests; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Prefetch {
    sender: mpsc::Sender<Request>,
    receiver: Arc<Mutex<mpsc::Receiver<Request>>>,
}

impl Default for Prefetch {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self { sender, receiver: Arc::new(Mutex::new(receiver)) }
    }
}

impl Prefetch {
    /// Requests the parent and the best children of an entry that was read from the database.
    pub(super) fn request(&self, Seen { entry, .. }: &Seen) {
        if let Ok(permit) = self.sender.try_reserve() {
            let id = entry.summary.archive_entry_id.clone();
            permit.send(Request { id, parent: entry.summary.parent_entry_id.clone() });
        }
    }
}

impl ArchiveService {
    /// Fetches the most read entries that this process does not hold, and returns their number.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn warm_cache(&self) -> Result<usize, Error> {
        let mut ids = self.archive.most_read(WARM).await?;
        ids.retain(|id| !self.cache.holds(&Key::Entry { id: id.clone() }));
        for ids in ids.chunks(BATCH) {
            self.fetch_ahead(ids, &[]).await;
        }
        Ok(ids.len())
    }

    /// Serves prefetch requests for as long as it is polled.
    pub async fn prefetch(&self) {
        let mut receiver = self.prefetch.receiver.lock().await;
        let mut requests = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut requests, BATCH).await > 0 {
            let missing = |id: &String| !self.cache.holds(&Key::Entry { id: id.clone() });
            let parents: Vec<String> =
                requests.iter_mut().filter_map(|request| request.parent.take()).filter(missing).collect();
            let of: Vec<String> = requests.drain(..).map(|request| request.id).collect();
            self.fetch_ahead(&parents, &of).await;
        }
    }

    async fn fetch_ahead(&self, ids: &[String], parents: &[String]) {
        let generation = self.cache.generation();
        let found = match self.archive.neighbours(ids, parents).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "prefetch failed"),
        };
        for Seen { entry, as_of } in found {
            let ttl = ttl::by_quality(entry.summary.accuracy_score, entry.summary.constitutional_compliance_score);
            let Ok(cached) = render::render_entry(&entry) else { continue };
            let key = Key::Entry { id: entry.summary.archive_entry_id };
            self.cache.offer(&key, cached, ttl, as_of, generation).await;
            CACHE_PREFETCHED.increment(());
        }
    }

    /// Adds the reads since the last call to the counts in the database and returns the number of entries. Reads that cannot
    /// be written are lost: these are statistics, and memory is bounded.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn flush_reads(&self) -> Result<usize, Error> {
        let mut reads = self.cache.take_entry_reads();
        reads.sort_unstable();
        for some in reads.chunks(COUNT_BATCH) {
            self.archive.count_reads(some).await?;
        }
        Ok(reads.len())
    }
}
