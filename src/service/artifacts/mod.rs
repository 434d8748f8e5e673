//! Artifacts of entries. Each content is stored once, however many entries have it.
//!
//! An upload is written under a temporary name and renamed to its digest when it is complete, while the digest's row is
//! held. [`ArtifactService::collect`] removes what a crash leaves behind: files without a row, and incomplete uploads.

mod backup;
mod collect;
mod limits;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use uuid::Uuid;

pub use backup::{Copied, Depth, Direction, Failure, Lost, Verified};
pub use collect::Collected;
pub use limits::Limits;

use super::error::Error;
use crate::db;
use crate::domain::artifact::{Artifact, Digest, validate};
use crate::domain::clock::Clock;
use crate::domain::validation::Invalid;
use crate::objects::{Bucket, Contents, Purpose, Refused};
use crate::store::artifacts::{ArtifactStore, Attachment};
use crate::telemetry::catalogue::artifacts::{
    ARTIFACT_BYTES, ARTIFACT_STORAGE_DURATION, ARTIFACT_STORAGE_ERRORS, ARTIFACTS_LOST, StorageCall, TARGET_READY,
    Transfer,
};
use crate::telemetry::catalogue::labels::Target;

/// Uploads of this process whose transactions are open at once: half of the default `database.max_connections`.
const TURNS: usize = 8;
/// Time between two looks at the storage.
const WATCH_INTERVAL: Duration = Duration::from_secs(15);
/// Where bytes lie, by their digest.
const KEPT: &str = "sha256";
/// Where uploads lie until they are whole.
const INCOMING: &str = "incoming";

/// Where artifacts are kept, and how.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The place.
    pub bucket: Bucket,
    /// Most bytes of one.
    pub max_bytes: u64,
    /// How long what nobody needs stays.
    pub grace: Duration,
    /// How many an entry, and how many bytes an entry and a service may have.
    pub limits: Limits,
}

/// Whose file, under which name, and who brings it.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// The entry.
    pub entry: &'a str,
    /// The file's name there.
    pub name: &'a str,
    /// What it is.
    pub media_type: &'a str,
    /// How many bytes are to come, if that is known.
    pub announced: Option<u64>,
    /// Who brings it.
    pub by: Option<Uuid>,
}

/// Use cases of artifacts; cheap to clone.
#[derive(Debug, Clone)]
pub struct ArtifactService {
    artifacts: ArtifactStore,
    clock: Arc<dyn Clock>,
    storage: Option<Arc<Storage>>,
    /// Where retention exports samples; backed up together with the artifacts.
    exports: Option<Bucket>,
    services: Arc<limits::Services>,
    /// Uploads whose transaction is open. They wait for each other where they share an entry or a content, and must leave
    /// connections to everything else meanwhile.
    turns: Arc<Semaphore>,
}

impl ArtifactService {
    pub(super) fn new(
        artifacts: ArtifactStore,
        clock: Arc<dyn Clock>,
        storage: Option<Storage>,
        exports: Option<Bucket>,
    ) -> Self {
        let storage = storage.map(Arc::new);
        Self { artifacts, clock, storage, exports, services: Arc::default(), turns: Arc::new(Semaphore::new(TURNS)) }
    }

    /// Gives an entry a file; `true`: it had none of this name. The same upload again changes nothing, another one takes the
    /// place of the first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::TooLarge`], [`Error::LimitReached`], [`Error::NotConfigured`], [`Error::StorageUnavailable`].
    pub async fn attach<E: std::fmt::Display>(
        &self,
        upload: Upload<'_>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(bool, Artifact), Error> {
        validate(upload.name, upload.media_type)?;
        let storage = self.storage()?;
        // Before anything is read.
        let usage = self.artifacts.usage(upload.entry, upload.name).await?;
        let usage = usage.ok_or_else(|| Error::no_entry(upload.entry))?;
        if upload.announced.is_some_and(|bytes| bytes > storage.max_bytes) {
            return Err(Error::TooLarge { most: storage.max_bytes });
        }
        let announced = upload.announced.unwrap_or_default();
        storage.limits.check_entry(upload.entry, &usage, announced)?;
        self.check_service(&storage.limits, &usage, announced).await?;
        if !self.is_marked(storage).await? {
            counted(StorageCall::Write, storage.bucket.initialise(Purpose::Artifacts).await)?;
        }
        let incoming = format!("{INCOMING}/{}", Uuid::now_v7());
        let began = Instant::now();
        let (digest, size) = receive(storage, &incoming, body).await?;
        ARTIFACT_STORAGE_DURATION.observe((StorageCall::Write,), began.elapsed());
        let attached = match self.check_service(&storage.limits, &usage, size).await {
            Ok(()) => self.keep(storage, &incoming, digest, size, upload).await,
            Err(error) => Err(error),
        };
        if attached.is_ok() {
            ARTIFACT_BYTES.add((Transfer::In,), size);
        } else {
            // What cannot be removed now is found by the job.
            let _ = counted(StorageCall::Remove, storage.bucket.remove(&incoming).await);
        }
        attached
    }

    async fn keep(
        &self,
        storage: &Storage,
        incoming: &str,
        digest: Digest,
        size: u64,
        upload: Upload<'_>,
    ) -> Result<(bool, Artifact), Error> {
        let Upload { entry, name, media_type, by, .. } = upload;
        let _turn = self.turns.acquire().await.map_err(|_| Error::Internal)?;
        let found = self.artifacts.hold(entry, name, digest, i64::try_from(size).unwrap_or(i64::MAX)).await?;
        let (hold, usage) = found.ok_or_else(|| Error::no_entry(entry))?;
        storage.limits.check_entry(entry, &usage, size)?;
        let place = place(digest);
        // A row may have lost its bytes: then these take their place.
        if counted(StorageCall::Look, storage.bucket.size(&place).await)? == Some(size) {
            counted(StorageCall::Remove, storage.bucket.remove(incoming).await)?;
        } else {
            counted(StorageCall::Write, storage.bucket.rename(incoming, &place).await)?;
        }
        let attached = hold.attach(digest, &Attachment { entry, name, media_type, by }).await?;
        self.services.add(&usage, size);
        Ok(attached)
    }

    /// The artifacts of an entry, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn list(&self, entry: &str) -> Result<Vec<Artifact>, Error> {
        let artifacts = self.artifacts.list(entry).await?;
        if artifacts.is_empty() && self.artifacts.usage(entry, "").await?.is_none() {
            return Err(Error::no_entry(entry));
        }
        Ok(artifacts)
    }

    /// What is known of an artifact.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, entry: &str, name: &str) -> Result<Artifact, Error> {
        self.artifacts.find(entry, name).await?.ok_or_else(|| no_artifact(name))
    }

    /// The bytes of an artifact.
    ///
    /// # Errors
    /// [`Error::NotConfigured`], [`Error::StorageUnavailable`]; [`Error::Internal`] when they are gone from the storage.
    pub async fn read(&self, artifact: &Artifact) -> Result<Contents, Error> {
        let storage = self.storage()?;
        let began = Instant::now();
        let found = counted(StorageCall::Read, storage.bucket.read(&place(artifact.digest)).await)?;
        ARTIFACT_STORAGE_DURATION.observe((StorageCall::Read,), began.elapsed());
        let Some(contents) = found else {
            // Where the disk is not mounted, nothing is lost.
            self.is_marked(storage).await?;
            ARTIFACTS_LOST.increment(());
            tracing::error!(digest = %artifact.digest, "the bytes of an artifact are gone from the storage");
            return Err(Error::Internal);
        };
        let count = |bytes: &Bytes| ARTIFACT_BYTES.add((Transfer::Out,), bytes.len() as u64);
        Ok(contents.inspect_ok(count).boxed())
    }

    /// Takes an artifact from an entry. Its bytes stay for a while, and for as long as another entry has them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn detach(&self, entry: &str, name: &str) -> Result<(), Error> {
        if self.artifacts.detach(entry, name).await? { Ok(()) } else { Err(no_artifact(name)) }
    }

    /// Whether the storage is the one that has the artifacts, and takes, gives back and removes a file. Answers where it is; `None`
    /// without a storage.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub async fn probe(&self) -> Result<Option<String>, String> {
        let Some(Storage { bucket, .. }) = self.storage.as_deref() else { return Ok(None) };
        self.marker(bucket).await?;
        bucket.probe(INCOMING).await.map_err(|refused| refused.to_string())?;
        Ok(Some(bucket.locate("")))
    }

    /// Looks at the storage now and every 15 s, and logs what changes: its disk may not be mounted. While the database cannot say
    /// whether there are artifacts, nothing is known of a storage without a marker.
    pub async fn watch_storage(&self) {
        let Some(storage) = self.storage.as_deref() else { return };
        let mut was_ready = true;
        loop {
            match self.state(&storage.bucket).await {
                Ok(state) => {
                    let is_ready = state.is_ok();
                    TARGET_READY.set((Target::Artifacts,), if is_ready { 1.0 } else { 0.0 });
                    match state {
                        Err(reason) if was_ready => {
                            tracing::error!(%reason, "artifacts.url: artifacts can be neither stored nor read");
                        }
                        Ok(_) if !was_ready => tracing::info!("artifacts.url: artifacts can be stored and read again"),
                        _ => {}
                    }
                    was_ready = is_ready;
                }
                Err(error) => tracing::debug!(%error, "artifacts.url: its state is not known"),
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    /// Whether the storage has its marker. Without artifacts it may lack one: it is new then, and its first upload initialises it. A storage
    /// without a marker in which there should be artifacts is another one, or a disk that is not mounted.
    ///
    /// # Errors
    /// [`Error::StorageUnavailable`].
    async fn is_marked(&self, storage: &Storage) -> Result<bool, Error> {
        counted(StorageCall::Look, self.marker(&storage.bucket).await)
    }

    /// As [`ArtifactService::is_marked`], with the reason.
    async fn marker(&self, bucket: &Bucket) -> Result<bool, String> {
        let state = self.state(bucket).await.map_err(|error| error.to_string())?;
        state.map_err(|refused| refused.to_string())
    }

    /// Whether the storage has its marker, or why it cannot be used; an error when the database cannot say whether it has artifacts.
    async fn state(&self, bucket: &Bucket) -> Result<Result<bool, Refused>, db::Error> {
        let checked = bucket.check(Purpose::Artifacts).await;
        if !checked.as_ref().is_err_and(Refused::is_uninitialised) {
            return Ok(checked.map(|()| true));
        }
        if self.artifacts.after(None, 1).await?.is_empty() {
            return Ok(Ok(false));
        }
        // The first upload, which writes the marker before its artifact, may have come in between.
        Ok(bucket.check(Purpose::Artifacts).await.map(|()| true))
    }

    fn storage(&self) -> Result<&Storage, Error> {
        self.storage.as_deref().ok_or(Error::NotConfigured("artifacts.url"))
    }
}

/// Writes what comes, and says what it was.
async fn receive<E: std::fmt::Display>(
    storage: &Storage,
    incoming: &str,
    body: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<(Digest, u64), Error> {
    let mut body = std::pin::pin!(body);
    let (mut upload, mut hash, mut size) = (storage.bucket.upload(incoming), Sha256::new(), 0_u64);
    let received = loop {
        match body.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(Invalid::one("", format!("the body broke off: {error}")).into()),
            Some(Ok(bytes)) => {
                size += bytes.len() as u64;
                if size > storage.max_bytes {
                    break Err(Error::TooLarge { most: storage.max_bytes });
                }
                hash.update(&bytes);
                if let Err(error) = counted(StorageCall::Write, upload.push(bytes).await) {
                    break Err(error);
                }
            }
        }
    };
    if let Err(error) = received {
        upload.abandon().await;
        return Err(error);
    }
    counted(StorageCall::Write, upload.finish().await)?;
    Ok((Digest(hash.finalize().into()), size))
}

/// Two levels of folders keep each of them small.
fn place(digest: Digest) -> String {
    let hex = digest.hex();
    format!("{KEPT}/{}/{}/{hex}", &hex[..2], &hex[2..4])
}

/// Counts a failure of the storage and converts its error.
fn counted<T, E: std::fmt::Display>(call: StorageCall, outcome: Result<T, E>) -> Result<T, Error> {
    outcome.map_err(|error| {
        ARTIFACT_STORAGE_ERRORS.increment((call,));
        tracing::warn!(%error, call = call.as_str(), "the artifact storage failed");
        Error::StorageUnavailable
    })
}

fn no_artifact(name: &str) -> Error {
    Error::NotFound { what: "artifact", id: name.to_owned() }
}
