//! Whether every artifact that an entry has is there: after a restore, and in a copy.

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::copy::ARTIFACTS;
use super::{CONCURRENCY, Failure, Loss, Lost};
use crate::domain::artifact::Digest;
use crate::objects::{Bucket, Purpose};
use crate::service::artifacts::{ArtifactService, place};

/// How much of the bytes is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// That they are there, and how many.
    Size,
    /// All of them.
    Content,
}

/// What was looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not whole.
    pub lost: u64,
}

impl ArtifactService {
    /// Looks for the bytes of every artifact that an entry has, in the storage or in a copy (its URL). `lost` is called with each that has
    /// none or others, `progress` with the counts so far.
    ///
    /// # Errors
    /// [`super::Failure`].
    pub async fn verify(
        &self,
        copy: Option<&str>,
        depth: Depth,
        mut lost: impl FnMut(&Lost),
        mut progress: impl FnMut(&Verified),
    ) -> Result<Verified, Failure> {
        let bucket = &if let Some(copy) = copy {
            let copy = Bucket::open(copy).map_err(Failure::Url)?;
            copy.check(Purpose::Backup).await?;
            copy.within(ARTIFACTS)
        } else {
            let bucket = self.storage()?.bucket.clone();
            self.marker(&bucket).await.map_err(Failure::Target)?;
            bucket
        };
        let mut verified = Verified::default();
        let looked = self
            .kept()
            .try_filter(|kept| std::future::ready(kept.needed))
            .map_ok(async |kept| Ok((kept, look(bucket, kept.digest, kept.size_bytes, depth).await?)))
            .try_buffered(CONCURRENCY);
        let mut looked = std::pin::pin!(looked);
        while let Some((kept, loss)) = looked.try_next().await? {
            verified.artifacts += 1;
            verified.bytes += kept.size_bytes;
            if let Some(loss) = loss {
                verified.lost += 1;
                lost(&self.lost(kept.digest, loss).await?);
            }
            progress(&verified);
        }
        Ok(verified)
    }
}

async fn look(bucket: &Bucket, digest: Digest, size: u64, depth: Depth) -> Result<Option<Loss>, Failure> {
    let (place, failed) = (place(digest), Failure::of(bucket));
    match bucket.size(&place).await.map_err(failed)? {
        None => return Ok(Some(Loss::Gone)),
        Some(there) if there != size => return Ok(Some(Loss::Size(there, size))),
        Some(_) if depth == Depth::Size => return Ok(None),
        Some(_) => {}
    }
    let Some(contents) = bucket.read(&place).await.map_err(failed)? else { return Ok(Some(Loss::Gone)) };
    let hash = contents.try_fold(Sha256::new(), async |hash, bytes| Ok(hash.chain_update(bytes)));
    let found = Digest(hash.await.map_err(failed)?.finalize().into());
    Ok((found != digest).then_some(Loss::Content(found)))
}
