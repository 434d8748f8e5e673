//! Follows the changes of the archive and of API tokens, so that no cached entry older than the bound is served and no revoked token
//! accepted.

use std::time::{Duration, Instant};

use super::identity::feed::TokenFeed;
use crate::cache::{Cache, Change, Key, News};
use crate::db::Error;
use crate::store::NO_SNAPSHOT;
use crate::store::changes::{self, ChangeStore, Feed, Polled};
use crate::store::maintenance::MaintenanceStore;
use crate::telemetry::catalogue::cache::{CACHE_CHANGES, CACHE_INVALIDATION_LAG};

/// Longest time between two questions; a notification brings the next one forward. What the feed confirmed of tokens counts for
/// twice as long.
const IDLE: Duration = Duration::from_millis(500);
/// Longest wait for the first answer.
const FIRST: Duration = Duration::from_secs(1);
/// Shortest time between two questions: a burst of changes is told in one answer.
const PAUSE: Duration = Duration::from_millis(2);
/// Time before the feed is opened anew.
const REOPEN: Duration = Duration::from_millis(250);

/// Keeps the cache coherent with the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct ChangeService {
    changes: ChangeStore,
    maintenance: MaintenanceStore,
    cache: Cache,
    tokens: TokenFeed,
}

impl ChangeService {
    pub(super) const fn new(
        changes: ChangeStore,
        maintenance: MaintenanceStore,
        cache: Cache,
        tokens: TokenFeed,
    ) -> Self {
        Self { changes, maintenance, cache, tokens }
    }

    /// Follows the archive's changes for as long as it is polled. While the database cannot be polled, reads of entries bypass
    /// the cache; changes of that time are applied before cached entries are served again.
    pub async fn follow(&self) {
        let mut seen = Seen { snapshot: NO_SNAPSHOT.to_owned(), generation: None };
        let mut complained = false;
        loop {
            let error = match self.changes.open().await {
                Ok(feed) => self.follow_feed(feed, &mut seen, &mut complained).await,
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
        self.maintenance.watch_replica().await;
    }

    /// Waits, at most a second, until the change feed is confirmed for the first time: without it the first reads would
    /// bypass the cache.
    pub async fn wait_until_known(&self) {
        let known = async {
            while !self.cache.is_confirmed() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // A database that is away is told of by readiness.
        let _ = tokio::time::timeout(FIRST, known).await;
    }

    /// Deletes changes from more than a day ago and returns their number.
    ///
    /// # Errors
    /// [`super::error::Error::Unavailable`].
    pub async fn prune(&self) -> Result<i64, super::error::Error> {
        Ok(self.changes.prune().await?)
    }

    async fn follow_feed(&self, mut feed: Feed, seen: &mut Seen, complained: &mut bool) -> Error {
        loop {
            let asked = Instant::now();
            let polled = match feed.poll(&seen.snapshot).await {
                Ok(polled) => polled,
                Err(error) => return error,
            };
            if seen.generation.is_some_and(|generation| generation != polled.generation) {
                tracing::warn!("another database answers, or the archive was truncated: all copies are dropped");
                // What that database has seen was not asked for yet.
                *seen = Seen { snapshot: NO_SNAPSHOT.to_owned(), generation: None };
                continue;
            }
            self.learn(asked, &polled, seen.generation.is_some());
            self.tokens.confirm(polled.token_state, asked);
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
        let change = |change: &changes::Change| Change {
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
