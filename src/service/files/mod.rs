//! The files that PostgreSQL has not, artifacts and exported months, as those who run the service see them: whether they are there,
//! and copies of them. A file is written once and never changed, so that a copy adds what it lacks, and gives back what was lost.

mod copy;
mod verify;

pub use copy::{ARTIFACTS, Copied, Direction};
pub use verify::{Depth, Verified};

use std::fmt;

use futures_util::{Stream, TryStreamExt as _, stream};

use super::{Error, Service};
use crate::domain::artifact::Digest;
use crate::store::artifacts::Kept;
use crate::store::bucket;

/// Questions to a storage that are open together.
const QUESTIONS: usize = 16;
/// Artifacts that the database is asked for together.
const AT_ONCE: usize = 1000;

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
}

impl Failure {
    fn of(bucket: &bucket::Bucket) -> impl Fn(bucket::Error) -> Self + Copy {
        move |error| Self::Storage(bucket.locate(""), error.to_string())
    }
}

impl From<crate::store::error::Error> for Failure {
    fn from(error: crate::store::error::Error) -> Self {
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

impl Service {
    /// Every artifact that the database knows, by digest.
    fn kept(&self) -> impl Stream<Item = Result<Kept, Failure>> {
        let pages = stream::try_unfold(Some(None), async |after| {
            let Some(after) = after else { return Ok::<_, Failure>(None) };
            let page = self.store.artifacts_after(after, AT_ONCE).await?;
            let next = if page.len() < AT_ONCE { None } else { page.last().map(|kept| Some(kept.digest)) };
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        });
        pages.try_flatten()
    }

    /// Whose artifact that is.
    async fn lost(&self, digest: Digest, loss: Loss) -> Result<Lost, Failure> {
        Ok(Lost { digest, loss, owners: self.store.artifact_owners(digest).await? })
    }
}
