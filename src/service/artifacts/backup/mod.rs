//! Backup, restore and verification of the files outside PostgreSQL: artifacts and exported months. A file is written once and
//! never changed, so a backup adds the files that it lacks, and a restore returns the files that were lost.

mod copy;
mod verify;

pub use copy::{Copied, Direction};
pub use verify::{Depth, Verified};

use std::fmt;

use futures_util::{Stream, TryStreamExt as _, stream};

use super::ArtifactService;
use crate::db;
use crate::domain::artifact::Digest;
use crate::objects;
use crate::service::error::Error;
use crate::store::artifacts::Kept;

/// Concurrent calls to a storage.
const CONCURRENCY: usize = 16;
/// Artifacts of one statement.
const BATCH: usize = 1000;

/// Why it did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database, or a setting.
    #[error(transparent)]
    Service(#[from] Error),
    /// No place for a copy.
    #[error("{0}")]
    Url(String),
    /// A storage, and where.
    #[error("{0}: {1}")]
    Storage(String, String),
    /// A place that is not the one that it should be, or not mounted.
    #[error("{0}")]
    Target(String),
}

impl Failure {
    fn of(bucket: &objects::Bucket) -> impl Fn(objects::Error) -> Self + Copy {
        move |error| Self::Storage(bucket.locate(""), error.to_string())
    }
}

impl From<objects::Refused> for Failure {
    fn from(refused: objects::Refused) -> Self {
        Self::Target(refused.to_string())
    }
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Self {
        Error::from(error).into()
    }
}

/// What is wrong with the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// There are none.
    Gone,
    /// There are so many, in place of those.
    Size(u64, u64),
    /// They have this digest.
    Content(Digest),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("is gone"),
            Self::Size(there, wanted) => write!(f, "has {there} bytes in place of {wanted}"),
            Self::Content(digest) => write!(f, "holds other bytes, those of {digest}"),
        }
    }
}

/// An artifact without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub digest: Digest,
    /// What is wrong.
    pub loss: Loss,
    /// The entries that have it, and under which names.
    pub owners: Vec<(String, String)>,
}

impl ArtifactService {
    /// Every artifact that the database knows, by digest.
    fn kept(&self) -> impl Stream<Item = Result<Kept, Failure>> {
        let pages = stream::try_unfold(Some(None), async |after| {
            let Some(after) = after else { return Ok::<_, Failure>(None) };
            let page = self.artifacts.after(after, BATCH).await?;
            let next = if page.len() < BATCH { None } else { page.last().map(|kept| Some(kept.digest)) };
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        });
        pages.try_flatten()
    }

    /// Whose artifact that is.
    async fn lost(&self, digest: Digest, loss: Loss) -> Result<Lost, Failure> {
        Ok(Lost { digest, loss, owners: self.artifacts.owners(digest).await? })
    }
}
