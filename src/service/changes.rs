//! Follows what changes in the database, so that no copy is served that is older than the bound.

use std::time::{Duration, Instant};

use super::Service;
use crate::cache::{Change, Key, News};
use crate::store::error::Error;
use crate::store::feed::{Feed, Polled, nothing_seen};
use crate::telemetry::catalogue::cache::{CACHE_CHANGES, CACHE_INVALIDATION_LAG};

/// Longest time between two questions; a notification brings the next one forward.
const IDLE: Duration = Duration::from_secs(1);
/// Shortest time between two questions: a burst of changes is told in one answer.
const PAUSE: Duration = Duration::from_millis(2);
/// Time before the feed is opened anew.
const REOPEN: Duration = Duration::from_millis(250);

impl Service {
    /// Follows the archive's changes for as long as it is polled. While the database cannot be asked, entries are read
    /// past the cache; what changed meanwhile is learned before copies count again.
    pub async fn follow_changes(&self) {
        let mut seen = Seen { snapshot: nothing_seen(), generation: None };
        let mut complained = false;
        loop {
            let error = match self.store.feed().await {
                Ok(feed) => self.follow(feed, &mut seen, &mut complained).await,
                Err(error) => error,
            };
            if !complained {
                tracing::warn!(%error, "the change feed broke off; entries are read past the cache until it is back");
                complained = true;
            }
            tokio::time::sleep(REOPEN).await;
        }
    }

    /// Measures how far the read replica is behind, for as long as it is polled.
    pub async fn watch_replica(&self) {
        self.store.watch_replica().await;
    }

    /// Waits until the change feed is confirmed for the first time, at most a second: without it the first reads would
    /// pass by the cache.
    pub async fn changes_known(&self) {
        let known = async {
            while !self.cache.is_confirmed() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // A database that is away is told of by readiness.
        let _ = tokio::time::timeout(IDLE, known).await;
    }

    /// Forgets changes from more than a day ago; answers how many.
    ///
    /// # Errors
    /// [`super::Error::Unavailable`].
    pub async fn prune_changes(&self) -> Result<i64, super::Error> {
        Ok(self.store.prune_changes().await?)
    }

    async fn follow(&self, mut feed: Feed, seen: &mut Seen, complained: &mut bool) -> Error {
        loop {
            let asked = Instant::now();
            let polled = match feed.poll(&seen.snapshot).await {
                Ok(polled) => polled,
                Err(error) => return error,
            };
            if seen.generation.is_some_and(|generation| generation != polled.generation) {
                tracing::warn!("another database answers, or the archive was truncated: all copies are dropped");
                // What that database has seen was not asked for yet.
                *seen = Seen { snapshot: nothing_seen(), generation: None };
                continue;
            }
            self.learn(asked, &polled, seen.generation.is_some());
            *seen = Seen { snapshot: polled.snapshot, generation: Some(polled.generation) };
            if std::mem::take(complained) {
                tracing::info!("the change feed is back");
            }
            tokio::time::sleep(PAUSE).await;
            if let Err(error) = feed.wait(IDLE).await {
                return error;
            }
        }
    }

    fn learn(&self, asked: Instant, polled: &Polled, following: bool) {
        let change = |change: &crate::store::feed::Change| Change {
            key: Key::Entry { id: change.archive_entry_id.clone() }.text(),
            version: change.version,
            transaction: change.transaction,
        };
        let changes: Vec<Change> = polled.changes.iter().map(change).collect();
        let told = changes.len() as u64;
        let news = News { asked, generation: polled.generation, complete_from: polled.complete_from, changes };
        self.cache.learn(&news);
        CACHE_CHANGES.add((), told);
        // What changed before this process asked for the first time is no lag.
        if let Some(lag) = polled.lag_seconds.filter(|lag| following && *lag >= 0.0) {
            CACHE_INVALIDATION_LAG.observe((), Duration::from_secs_f64(lag));
        }
    }
}

/// How far the feed was followed.
struct Seen {
    snapshot: String,
    generation: Option<i64>,
}
