//! Removing what nobody needs from the artifact storage.

use std::collections::HashSet;

use futures_util::StreamExt as _;

use super::{INCOMING, KEPT, Storage, place, told};
use crate::domain::artifact::Digest;
use crate::service::{Error, Service};
use crate::telemetry::catalogue::artifacts::{ARTIFACTS_COLLECTED, Garbage, StorageCall};

/// Artifacts that are looked at together.
const AT_ONCE: usize = 1000;

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

impl Service {
    /// Removes what nobody needs and nobody needed for the time of grace. Nothing to do where nothing is kept.
    ///
    /// # Errors
    /// [`Error::StorageUnavailable`]; the next call goes on.
    pub async fn collect_artifacts(&self) -> Result<Option<Collected>, Error> {
        let Some(storage) = &self.settings.artifacts else { return Ok(None) };
        let mut collected = Collected::default();
        loop {
            let digests = self.store.unreferenced_artifacts(storage.grace, AT_ONCE).await?;
            for digest in &digests {
                let Some(hold) = self.store.release_artifact(*digest, storage.grace).await? else { continue };
                told(StorageCall::Remove, storage.bucket.remove(&place(*digest)).await)?;
                hold.finish().await?;
                ARTIFACTS_COLLECTED.increment((Garbage::Unreferenced,));
                collected.unreferenced += 1;
            }
            if digests.len() < AT_ONCE {
                break;
            }
        }
        let before = self.now() - storage.grace;
        collected.unfinished = told(StorageCall::Remove, storage.bucket.sweep(INCOMING, before).await)?;
        ARTIFACTS_COLLECTED.add((Garbage::Unfinished,), collected.unfinished);
        let mut kept = storage.bucket.files(KEPT).chunks(AT_ONCE);
        while let Some(some) = kept.next().await {
            let some: Result<Vec<_>, _> = some.into_iter().collect();
            let old = told(StorageCall::Look, some)?.into_iter().filter(|(_, written)| *written < before);
            let digests: Vec<Digest> = old.filter_map(|(name, _)| Digest::from_hex(&name)).collect();
            collected.stray += self.collect_strays(storage, &digests).await?;
        }
        Ok(Some(collected))
    }

    async fn collect_strays(&self, storage: &Storage, digests: &[Digest]) -> Result<u64, Error> {
        let known: HashSet<Digest> = self.store.known_artifacts(digests).await?.into_iter().collect();
        let mut collected = 0;
        for digest in digests.iter().filter(|digest| !known.contains(digest)) {
            // Dropped at the end of the turn: it was held only so that the file does not become somebody's meanwhile.
            let Some(_hold) = self.store.reserve_artifact(*digest).await? else { continue };
            told(StorageCall::Remove, storage.bucket.remove(&place(*digest)).await)?;
            ARTIFACTS_COLLECTED.increment((Garbage::Stray,));
            collected += 1;
        }
        Ok(collected)
    }
}
