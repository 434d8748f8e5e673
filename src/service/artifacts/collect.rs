//! Garbage collection of the artifact storage.

use std::collections::HashSet;

use chrono::TimeDelta;
use futures_util::StreamExt as _;

use super::{ArtifactService, INCOMING, KEPT, Storage, counted, place};
use crate::domain::artifact::Digest;
use crate::domain::time;
use crate::service::error::Error;
use crate::telemetry::catalogue::artifacts::{ARTIFACTS_COLLECTED, Garbage, StorageCall};

/// Artifacts of one statement.
const BATCH: usize = 1000;

/// What was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Artifacts that no entry had.
    pub unreferenced: u64,
    /// Files that no row told of.
    pub stray: u64,
    /// Rests of uploads.
    pub unfinished: u64,
}

impl ArtifactService {
    /// Removes what nobody needs and nobody needed for the time of grace. Nothing to do where nothing is kept.
    ///
    /// # Errors
    /// [`Error::StorageUnavailable`]; the next call goes on.
    pub async fn collect(&self) -> Result<Option<Collected>, Error> {
        let Some(storage) = self.storage.as_deref() else { return Ok(None) };
        let now = self.clock.read().await?.verified()?;
        let mut collected = Collected::default();
        if !self.is_marked(storage).await? {
            // Nothing was ever kept here. Files that are there belong to another database.
            return Ok(Some(collected));
        }
        loop {
            let digests = self.artifacts.unreferenced(storage.grace, BATCH).await?;
            for digest in &digests {
                let Some(hold) = self.artifacts.release(*digest, storage.grace).await? else { continue };
                counted(StorageCall::Remove, storage.bucket.remove(&place(*digest)).await)?;
                hold.finish().await?;
                ARTIFACTS_COLLECTED.increment((Garbage::Unreferenced,));
                collected.unreferenced += 1;
            }
            if digests.len() < BATCH {
                break;
            }
        }
        let before = time::plus(now, -TimeDelta::from_std(storage.grace).unwrap_or(TimeDelta::MAX));
        collected.unfinished = counted(StorageCall::Remove, storage.bucket.sweep(INCOMING, before).await)?;
        ARTIFACTS_COLLECTED.add((Garbage::Unfinished,), collected.unfinished);
        let mut kept = storage.bucket.files(KEPT).chunks(BATCH);
        while let Some(some) = kept.next().await {
            let some: Result<Vec<_>, _> = some.into_iter().collect();
            let old = counted(StorageCall::Look, some)?.into_iter().filter(|(_, written)| *written < before);
            let digests: Vec<Digest> = old.filter_map(|(name, _)| Digest::from_hex(&name)).collect();
            collected.stray += self.collect_strays(storage, &digests).await?;
        }
        Ok(Some(collected))
    }

    async fn collect_strays(&self, storage: &Storage, digests: &[Digest]) -> Result<u64, Error> {
        let known: HashSet<Digest> = self.artifacts.known(digests).await?.into_iter().collect();
        let mut collected = 0;
        for digest in digests.iter().filter(|digest| !known.contains(digest)) {
            // Dropped at the end of the turn: it was held only so that the file does not become somebody's meanwhile.
            let Some(_hold) = self.artifacts.reserve(*digest).await? else { continue };
            counted(StorageCall::Remove, storage.bucket.remove(&place(*digest)).await)?;
            ARTIFACTS_COLLECTED.increment((Garbage::Stray,));
            collected += 1;
        }
        Ok(collected)
    }
}
