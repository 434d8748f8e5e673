//! Where exports and artifacts go: a folder, or a bucket of object storage.

mod target;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, RetryConfig};
use tokio::io::AsyncWriteExt as _;
use url::Url;

pub use target::{MARKER, Purpose, Refused};

/// Why a bucket failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] object_store::Error);

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        error.0.into()
    }
}

/// A place for files that are written once.
#[derive(Debug, Clone)]
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    url: Url,
    prefix: Path,
}

/// A file's bytes, piece by piece.
pub type Contents = BoxStream<'static, Result<Bytes, Error>>;

/// A file that is being written; nobody sees it before [`Upload::finish`].
#[derive(Debug)]
pub struct Upload {
    writer: BufWriter,
}

/// A job that waits can do so at its next run.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 5, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() }
}

impl Bucket {
    /// The bucket of a URL: `file:///folder`, or `s3://bucket/prefix` with the environment variables that the AWS command
    /// line knows (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL` and so on). Nothing is reached yet.
    ///
    /// # Errors
    /// Says what is wrong with the URL or the variables.
    pub fn open(url: &str) -> Result<Self, String> {
        let url = Url::parse(url)
            .map_err(|error| format!("{url:?} is no URL ({error}): say file:///folder or s3://bucket/prefix"))?;
        let text = |error: object_store::Error| error.to_string();
        let objects: Arc<dyn ObjectStore> = match url.scheme() {
            // What stands here is believed to outlive a crash: its rows are dropped next, or it was acknowledged.
            "file" => Arc::new(LocalFileSystem::new().with_fsync(true)),
            "s3" => {
                crate::tls::use_ring();
                let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry());
                Arc::new(builder.build().map_err(text)?)
            }
            other => return Err(format!("{other}: is neither file nor s3")),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        Ok(Self { objects, url, prefix })
    }

    /// The bucket that a file is in, and the file's name there. `file` is a URL as of [`Bucket::open`] or a path of this machine.
    ///
    /// # Errors
    /// States what is wrong with it.
    pub fn of_file(file: &str) -> Result<(Self, String), String> {
        let url = if file.contains("://") {
            file.to_owned()
        } else {
            let path = std::path::absolute(file).map_err(|error| format!("{file}: {error}"))?;
            Url::from_file_path(path).map_err(|()| format!("{file} is no path"))?.into()
        };
        match url.rsplit_once('/') {
            Some((folder, name)) if !name.is_empty() => {
                let name = Path::from_url_path(name).map_err(|error| format!("{file}: {error}"))?;
                Ok((Self::open(folder)?, name.to_string()))
            }
            _ => Err(format!("{file} names no file")),
        }
    }

    /// The part of it below a folder.
    #[must_use]
    pub fn within(&self, folder: &str) -> Self {
        let mut inner = self.clone();
        inner.prefix = self.path(folder);
        inner.url.set_path(&format!("{}/{folder}", self.url.path().trim_end_matches('/')));
        inner
    }

    /// The folder of this machine that it is, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// Where a file of this name is, for people.
    #[must_use]
    pub fn locate(&self, name: &str) -> String {
        format!("{}/{name}", self.url.as_str().trim_end_matches('/'))
    }

    /// Begins a file.
    #[must_use]
    pub fn upload(&self, name: &str) -> Upload {
        Upload { writer: BufWriter::new(Arc::clone(&self.objects), self.path(name)) }
    }

    /// A file's bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn read(&self, name: &str) -> Result<Option<Contents>, Error> {
        match self.objects.get(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            found => Ok(Some(found?.into_stream().err_into().boxed())),
        }
    }

    /// A part of a file.
    ///
    /// # Errors
    /// The bucket's, also when there is no such file or it is shorter.
    pub async fn range(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.objects.get_range(&self.path(name), range).await?)
    }

    /// The size of a file; `None` when there is no such file.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        match self.objects.head(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            found => Ok(Some(found?.size)),
        }
    }

    /// Gives a file another name, in place of the file that had it.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        Ok(self.objects.rename(&self.path(from), &self.path(to)).await?)
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        match self.objects.delete(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            done => Ok(done?),
        }
    }

    /// The last parts of the names of the files in a folder and all below it, and when each was written.
    #[must_use]
    pub fn files(&self, folder: &str) -> BoxStream<'static, Result<(String, DateTime<Utc>), Error>> {
        let name = |path: &Path| path.filename().unwrap_or_default().to_owned();
        self.objects
            .list(Some(&self.path(folder)))
            .map(move |file| Ok(file.map(|f| (name(&f.location), f.last_modified))?))
            .boxed()
    }

    /// Removes the files of a folder that were written before, also what an upload that was killed left there; answers how
    /// many.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn sweep(&self, folder: &str, before: DateTime<Utc>) -> std::io::Result<u64> {
        // A folder of this machine holds unfinished files, too, and does not list them; a bucket forgets them by a rule of its own.
        if let Some(root) = self.folder() {
            let folder = root.join(folder);
            return tokio::task::spawn_blocking(move || sweep(&folder, before)).await.map_err(std::io::Error::other)?;
        }
        let (mut files, mut removed) = (self.files(folder), 0);
        while let Some(file) = files.next().await {
            let (name, written) = file?;
            if written < before {
                self.remove(&format!("{folder}/{name}")).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Where a file of this name is; folders are separated by slashes.
    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), Path::join)
    }

    /// The size of a file and its last bytes, at most `most`; `None` when there is no such file.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn end(&self, name: &str, most: u64) -> Result<Option<(u64, Bytes)>, Error> {
        let path = self.path(name);
        let options = GetOptions { range: Some(GetRange::Suffix(most)), ..GetOptions::default() };
        match self.objects.get_opts(&path, options).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            found => {
                let found = found?;
                Ok(Some((found.meta.size, found.bytes().await?)))
            }
        }
    }
}

impl Upload {
    /// Goes on with these bytes.
    ///
    /// # Errors
    /// The bucket's; then [`Upload::abandon`] it.
    pub async fn push(&mut self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        Ok(self.writer.put(bytes.into()).await?)
    }

    /// Makes the file whole and seen.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn finish(mut self) -> std::io::Result<()> {
        self.writer.shutdown().await
    }

    /// Takes back what was sent.
    pub async fn abandon(mut self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(%error, "an upload could not be taken back: the bucket should forget unfinished ones by itself");
        }
    }
}

fn sweep(folder: &std::path::Path, before: DateTime<Utc>) -> std::io::Result<u64> {
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    let mut removed = 0;
    for file in files {
        let file = file?;
        if DateTime::<Utc>::from(file.metadata()?.modified()?) < before {
            std::fs::remove_file(file.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
