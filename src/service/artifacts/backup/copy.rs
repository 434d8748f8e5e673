//! Copies: what one side has and the other lacks is brought there. Nothing is changed or removed.

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::{CONCURRENCY, Failure, Loss, Lost};
use crate::domain::artifact::Digest;
use crate::objects::{Bucket, Purpose};
use crate::service::artifacts::{ArtifactService, place};
use crate::service::error::Error;
use crate::store::artifacts::Kept;

/// Where artifacts lie in a copy.
pub(super) const ARTIFACTS: &str = "artifacts";
/// Where exported months do.
const EXPORTS: &str = "exports";

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the installation to the copy.
    Backup,
    /// From the copy to the installation.
    Restore,
}

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Files that were brought.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub present: u64,
    /// Artifacts that an entry has and neither side.
    pub lost: u64,
}

/// What became of a file.
enum Fate {
    Brought(u64),
    Present,
    Lost(Loss),
}

/// Where files come from and where they go.
struct Way<'a> {
    installation: &'a Bucket,
    copy: &'a Bucket,
    /// The folder within the copy.
    folder: &'static str,
    direction: Direction,
}

impl Way<'_> {
    /// Brings a file, if it is not there with its size; an artifact with its own bytes or not at all.
    async fn carry(&self, name: &str, artifact: Option<&Kept>) -> Result<Fate, Failure> {
        let here = (self.installation, name.to_owned());
        let there = (self.copy, format!("{}/{name}", self.folder));
        let ((from, source), (to, target)) = match self.direction {
            Direction::Backup => (here, there),
            Direction::Restore => (there, here),
        };
        let size = match artifact {
            Some(kept) => kept.size_bytes,
            None => match from.size(&source).await.map_err(Failure::of(from))? {
                Some(size) => size,
                None => return Ok(Fate::Lost(Loss::Gone)),
            },
        };
        if to.size(&target).await.map_err(Failure::of(to))? == Some(size) {
            return Ok(Fate::Present);
        }
        let Some(mut contents) = from.read(&source).await.map_err(Failure::of(from))? else {
            return Ok(Fate::Lost(Loss::Gone));
        };
        let (mut upload, mut hash, mut bytes) = (to.upload(&target), Sha256::new(), 0);
        let carried = loop {
            match contents.try_next().await {
                Err(error) => break Err(Failure::of(from)(error)),
                Ok(None) => break Ok(()),
                Ok(Some(piece)) => {
                    bytes += piece.len() as u64;
                    hash.update(&piece);
                    if let Err(error) = upload.push(piece).await {
                        break Err(Failure::of(to)(error));
                    }
                }
            }
        };
        let found = Digest(hash.finalize().into());
        let wrong = carried.map(|()| match artifact {
            _ if bytes != size => Some(Loss::Size(bytes, size)),
            Some(kept) if kept.digest != found => Some(Loss::Content(found)),
            _ => None,
        });
        let fate = match wrong {
            Ok(None) => {
                let finished = upload.finish().await;
                finished.map_err(|error| Failure::Storage(to.locate(""), error.to_string()))?;
                return Ok(Fate::Brought(bytes));
            }
            Ok(Some(loss)) => Ok(Fate::Lost(loss)),
            Err(failure) => Err(failure),
        };
        upload.abandon().await;
        fate
    }
}

/// What was done so far, for whoever watches.
struct Tally<P> {
    copied: Copied,
    progress: P,
}

impl<P: FnMut(&Copied)> Tally<P> {
    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Brought(bytes) => {
                self.copied.files += 1;
                self.copied.bytes += bytes;
            }
            Fate::Present => self.copied.present += 1,
            Fate::Lost(_) => self.copied.lost += 1,
        }
        (self.progress)(&self.copied);
    }
}

impl ArtifactService {
    /// Brings artifacts and exported months to a copy (the URL of a folder or bucket), or back. `lost` is told of each artifact
    /// that an entry has and that is not whole where it should come from, `progress` of how far it is.
    ///
    /// # Errors
    /// [`Failure`]; what was brought until then is there, and the next call goes on. [`Failure::Target`] when a place lacks the marker of its
    /// purpose. [`Error::NotConfigured`] where there are neither artifacts nor exports.
    pub async fn copy(
        &self,
        copy: &str,
        direction: Direction,
        lost: impl FnMut(&Lost),
        progress: impl FnMut(&Copied),
    ) -> Result<Copied, Failure> {
        let copy = &Bucket::open(copy).map_err(Failure::Url)?;
        let (artifacts, exports) = (self.storage.as_deref(), &self.exports);
        if artifacts.is_none() && exports.is_none() {
            return Err(Error::NotConfigured("artifacts.url").into());
        }
        // All of them first: half a copy helps less than a reason.
        copy.check(Purpose::Backup).await?;
        let artifacts = match artifacts {
            Some(storage) if self.marker(&storage.bucket).await.map_err(Failure::Target)? => Some(storage),
            _ => None,
        };
        if let Some(bucket) = exports {
            bucket.check(Purpose::Exports).await?;
        }
        let mut tally = Tally { copied: Copied::default(), progress };
        if let Some(storage) = artifacts {
            let way = Way { installation: &storage.bucket, copy, folder: ARTIFACTS, direction };
            self.copy_artifacts(&way, &mut tally, lost).await?;
        }
        if let Some(bucket) = exports {
            copy_exports(&Way { installation: bucket, copy, folder: EXPORTS, direction }, &mut tally).await?;
        }
        // What was written since then may be in the folder below the disk.
        copy.check(Purpose::Backup).await?;
        Ok(tally.copied)
    }

    async fn copy_artifacts(
        &self,
        way: &Way<'_>,
        tally: &mut Tally<impl FnMut(&Copied)>,
        mut lost: impl FnMut(&Lost),
    ) -> Result<(), Failure> {
        let carried = self
            .kept()
            .map_ok(async |kept| Ok((kept, way.carry(&place(kept.digest), Some(&kept)).await?)))
            .try_buffered(CONCURRENCY);
        let mut carried = std::pin::pin!(carried);
        while let Some((kept, fate)) = carried.try_next().await? {
            match fate {
                // One that nobody needs may be collected meanwhile.
                Fate::Lost(_) if !kept.needed => continue,
                Fate::Lost(how) => lost(&self.lost(kept.digest, how).await?),
                _ => {}
            }
            tally.add(&fate);
        }
        Ok(())
    }
}

async fn copy_exports(way: &Way<'_>, tally: &mut Tally<impl FnMut(&Copied)>) -> Result<(), Failure> {
    let (source, folder) = match way.direction {
        Direction::Backup => (way.installation, ""),
        Direction::Restore => (way.copy, EXPORTS),
    };
    let mut months = source.files(folder);
    while let Some((name, _)) = months.try_next().await.map_err(Failure::of(source))? {
        if name.ends_with(".parquet") {
            tally.add(&way.carry(&name, None).await?);
        }
    }
    Ok(())
}
