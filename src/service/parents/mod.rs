//! Selection of the entries to improve next.
//!
//! The active entries of a service are kept in memory, in a form that makes a draw fast, and follow the database by the same
//! record of changes as the cache: every selection first applies the changes since the previous one. So it sees everything
//! that was committed before it was requested.

mod pools;

use std::time::Instant;

use rand::random;

use super::error::Error;
use crate::domain::parents::{Parent, Parents, SelectParents};
use crate::domain::selection::{self, Rule};
use crate::store::archive::{ArchiveStore, Changed};
use pools::{Held, Pools};

/// More draws than this run outside the async threads.
const MAX_INLINE: usize = 1000;

/// Use cases of parent selection; cheap to clone.
#[derive(Debug, Clone)]
pub struct ParentService {
    archive: ArchiveStore,
    pools: Pools,
}

impl ParentService {
    pub(super) fn new(archive: ArchiveStore, selection_max_bytes: usize) -> Self {
        Self { archive, pools: Pools::new(selection_max_bytes) }
    }

    /// Draws parents to improve next.
    ///
    /// # Errors
    /// [`Error::NoCandidates`] when the service has no active entry.
    pub async fn select(&self, request: &SelectParents) -> Result<Parents, Error> {
        request.validate()?;
        let (seed, n) = (request.seed.unwrap_or_else(random), request.n.unwrap_or(1) as usize);
        let (candidates, parents) = match request.rule() {
            Some(rule) => self.draw(&request.service_name, rule, n, seed).await?,
            None => self.draw_elites(request, n, seed).await?,
        };
        Ok(Parents { method: request.method, seed, candidates, parents })
    }

    async fn draw(&self, service: &str, rule: Rule, n: usize, seed: u64) -> Result<(usize, Vec<Parent>), Error> {
        let asked = Instant::now();
        let held = self.pools.of(service);
        let mut held = held.lock_owned().await;
        if held.as_ref().is_none_or(|held| held.followed_at < asked) {
            self.follow_pool(service, &mut held).await?;
        }
        let draw = move || {
            let Some(Held { pool, .. }) = held.as_ref() else { return Err(Error::Internal) };
            let parent = |p: selection::Parent<'_>| Parent {
                archive_entry_id: p.archive_entry_id.to_owned(),
                accuracy_score: p.score,
                children: p.children,
            };
            Ok((pool.len(), pool.select(rule, n, seed)?.into_iter().map(parent).collect()))
        };
        // Thousands of draws would delay other requests of the thread.
        if n > MAX_INLINE { tokio::task::spawn_blocking(draw).await.map_err(|_| Error::Internal)? } else { draw() }
    }

    /// Applies the changes to the pool, or loads it.
    async fn follow_pool(&self, service: &str, held: &mut Option<Held>) -> Result<(), Error> {
        let followed_at = Instant::now();
        if let Some(Held { pool, followed, followed_at: at }) = held
            && let Some((changes, now)) = self.archive.changed(service, followed).await?
        {
            let grown = !changes.is_empty();
            for Changed { archive_entry_id, parent_entry_id, score } in changes {
                match score {
                    Some(score) => pool.put(&archive_entry_id, parent_entry_id.as_deref(), score),
                    None => pool.remove(&archive_entry_id),
                }
            }
            (*followed, *at) = (now, followed_at);
            if grown {
                self.pools.make_room(service, pool.bytes());
            }
            return Ok(());
        }
        let (pool, followed) = self.archive.pool(service).await?;
        self.pools.make_room(service, pool.bytes());
        *held = Some(Held { pool, followed, followed_at });
        Ok(())
    }

    async fn draw_elites(&self, request: &SelectParents, n: usize, seed: u64) -> Result<(usize, Vec<Parent>), Error> {
        let features = request.features.as_deref().unwrap_or_default();
        let candidates = self.archive.candidates(&request.service_name, features).await?;
        let bins = request.bins.unwrap_or(10);
        let draw = move || {
            let drawn = selection::map_elites(&candidates, bins, n, seed)?;
            let parent = |c: &selection::Candidate| Parent {
                archive_entry_id: c.archive_entry_id.clone(),
                accuracy_score: c.score.get(),
                children: c.children,
            };
            Ok::<_, Error>((candidates.len(), drawn.into_iter().map(parent).collect()))
        };
        tokio::task::spawn_blocking(draw).await.map_err(|_| Error::Internal)?
    }
}
