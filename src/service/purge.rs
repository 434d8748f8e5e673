//! Removal of whole services by an operator.
//!
//! The API deletes no entry, so that lineages stay complete. For the same reason entries that another service refers to are
//! not removed here.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::Error;
use crate::cache::{self, Cache, Key};
use crate::db;
use crate::domain::purge::{Footprint, ServicePattern, Survey};
use crate::store::partitions::PartitionStore;
use crate::store::purge::{Pick, PurgeStore, Step};

/// After this, running replicas no longer serve removed rows.
pub const VISIBLE_FOR: Duration = cache::BOUND;

/// Rows that were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Entries of the archive.
    pub entries: u64,
    /// Improvements.
    pub improvements: u64,
    /// Events of improvements.
    pub events: u64,
    /// Samples.
    pub samples: u64,
}

/// Why not everything was removed. Removed rows stay removed, and the next call continues.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// The caller stopped it.
    #[error("stopped")]
    Stopped,
    /// The database failed.
    #[error("{0}")]
    Failed(db::Error),
}

/// Use cases of removing services; cheap to clone.
#[derive(Debug, Clone)]
pub struct PurgeService {
    purge: PurgeStore,
    partitions: PartitionStore,
    cache: Cache,
}

impl PurgeService {
    pub(super) const fn new(purge: PurgeStore, partitions: PartitionStore, cache: Cache) -> Self {
        Self { purge, partitions, cache }
    }

    /// The rows of these services: each that is named exactly, and those that a prefix selects.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn survey(&self, patterns: &[ServicePattern]) -> Result<Survey, Error> {
        let named = patterns.iter().filter_map(|pattern| match pattern {
            ServicePattern::Exact(name) => Some(name.clone()),
            ServicePattern::Prefix(_) => None,
        });
        let named: Vec<String> = named.collect();
        let matches = |name: &str| {
            patterns.iter().any(|pattern| matches!(pattern, ServicePattern::Prefix(prefix) if name.starts_with(prefix)))
        };
        let partitions = self.partitions.list().await?;
        Ok(self.purge.survey(partitions, &named, matches).await?)
    }

    /// Removes the rows of a survey: samples first, improvements with their events, then entries, children before their
    /// parents. Calls `progress` with the rows removed so far, and checks `stop` between two batches.
    ///
    /// # Errors
    /// With the rows that were removed before it.
    pub async fn remove(
        &self,
        survey: &Survey,
        stop: &CancellationToken,
        progress: impl FnMut(&Removed),
    ) -> (Removed, Result<(), Unfinished>) {
        let mut work = Work { purge: &self.purge, stop, progress, removed: Removed::default() };
        let outcome = work.all(survey).await;
        let removed = work.removed;
        self.drop_statistics(survey).await;
        (removed, outcome)
    }

    /// Drops the statistics of these services from Redis, where they would stay for up to a minute. A process keeps its own for
    /// 5 s; entries are validated against the change feed.
    async fn drop_statistics(&self, survey: &Survey) {
        // The first call on a new connection would not wait for it; without Redis there is nothing to drop.
        let _ = self.cache.probe().await;
        // What cannot be deleted ends by itself within the same minute.
        let _ = self.cache.delete(&Key::Stats { service: None }).await;
        for Footprint { service, .. } in &survey.services {
            let _ = self.cache.delete(&Key::Stats { service: Some(service.clone()) }).await;
            let _ = self.cache.delete(&Key::MetricsTrend { service: service.clone() }).await;
        }
    }
}

/// A removal in progress.
struct Work<'a, P> {
    purge: &'a PurgeStore,
    stop: &'a CancellationToken,
    progress: P,
    removed: Removed,
}

impl<P: FnMut(&Removed)> Work<'_, P> {
    async fn all(&mut self, survey: &Survey) -> Result<(), Unfinished> {
        for Footprint { service, samples, .. } in &survey.services {
            for month in samples.keys() {
                let mut from = Some(Uuid::nil());
                while let Some(place) = from {
                    let step = self.purge.remove_samples(service, *month, place).await.map_err(Unfinished::Failed)?;
                    self.removed.samples += step.removed;
                    from = step.next;
                    self.report()?;
                }
            }
        }
        for Footprint { service, .. } in &survey.services {
            let mut upto = None;
            loop {
                let step = self.purge.remove_improvements(service, upto).await.map_err(Unfinished::Failed)?;
                self.removed.improvements += step.removed;
                self.removed.events += step.with_them;
                self.report()?;
                upto = step.next;
                if upto.is_none() {
                    break;
                }
            }
        }
        self.entries(survey).await
    }

    /// In rounds over the services, since entries of one may be the children of another's.
    async fn entries(&mut self, survey: &Survey) -> Result<(), Unfinished> {
        let mut left: Vec<&str> = survey.services.iter().map(|footprint| footprint.service.as_str()).collect();
        let mut pick = Pick::Newest;
        while !left.is_empty() {
            let before = self.removed.entries;
            let mut next = Vec::new();
            for service in left {
                if !self.entries_of(service, pick).await? {
                    next.push(service);
                }
            }
            left = next;
            pick = match (self.removed.entries > before, pick) {
                (true, _) => Pick::Newest,
                (false, Pick::Newest) => Pick::Leaves,
                // Others refer to what is left; the survey after this one says who.
                (false, Pick::Leaves) => return Ok(()),
            };
        }
        Ok(())
    }

    /// Removes entries of a service until none of those picked can go; answers whether there are none left.
    async fn entries_of(&mut self, service: &str, pick: Pick) -> Result<bool, Unfinished> {
        let mut upto = None;
        loop {
            let step = self.purge.remove_entries(service, pick, upto).await.map_err(Unfinished::Failed)?;
            self.removed.entries += step.removed;
            self.report()?;
            match step {
                // Without a leaf of its own it may have entries whose children are another's.
                Step { next: None, .. } => return Ok(pick == Pick::Newest),
                Step { removed: 0, .. } => return Ok(false),
                Step { next, .. } => upto = next.filter(|_| pick == Pick::Newest),
            }
        }
    }

    fn report(&mut self) -> Result<(), Unfinished> {
        (self.progress)(&self.removed);
        if self.stop.is_cancelled() { Err(Unfinished::Stopped) } else { Ok(()) }
    }
}
