//! Months that are no longer kept: taken from the table, exported, dropped.

use super::exports::{NOTE, open};
use super::{PartitionService, TABLE};
use crate::db;
use crate::domain::clock::Reading;
use crate::domain::contents::Contents;
use crate::domain::partition::{Partition, PartitionState, Reason};
use crate::interchange::sample_file::{self, SampleFile};
use crate::objects::{Bucket, Purpose, Refused, Upload};
use crate::service::error::Error;
use crate::store::partitions::SampleReader;
use crate::telemetry::catalogue::database::{
    PARTITION_DROP_FAILURES, PARTITIONS_DROPPED, PARTITIONS_EXPORTED, PARTITIONS_EXPORTED_BYTES,
};

/// Rows of a row group, and of one look at the table: some 20 MB in memory.
const PIECE: usize = 131_072;
/// Hexadecimal digits of the digest that are in the name of a file. The footer has all of them.
const NAMED: usize = 32;

/// What retention did.
#[derive(Debug, Default)]
pub struct Retention {
    /// The partitions that were dropped.
    pub dropped: Vec<Dropped>,
    /// Names of those that are old enough and are kept all the same, with the reason.
    pub kept: Vec<(String, Reason)>,
    /// Name of the one that could not be, with the reason; those after it were not tried, since PostgreSQL detaches one at a
    /// time.
    pub failed: Option<(String, String)>,
}

/// A partition that is gone.
#[derive(Debug)]
pub struct Dropped {
    /// Its name.
    pub name: String,
    /// Where its samples are now; `None` when exports are off, or it had none.
    pub export: Option<String>,
}

/// What became of a partition.
enum Retired {
    /// It is gone; where its samples are now.
    Dropped(Option<String>),
    Kept(Reason),
}

/// Why a table was not exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("reading it: {0}")]
    Read(#[from] db::Error),
    #[error("encoding it: {0}")]
    Encode(#[from] sample_file::Error),
    #[error("reading it again gave {read} of {rows} rows")]
    Changed { read: u64, rows: u64 },
    #[error("the process is stopping")]
    Stopped,
    #[error(transparent)]
    Target(#[from] Refused),
    #[error("writing {0}: {1}")]
    Write(String, String),
    #[error("{0} is not what the table holds ({1}): left alone, move it away to have the table exported anew")]
    Differs(String, String),
}

impl PartitionService {
    /// The partitions that retention drops, in its order.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn expired(&self) -> Result<Vec<Partition>, Error> {
        let kept = self.kept(self.clock.read().await?.verified()?);
        let mut expired = self.list().await?;
        expired.retain(|partition| partition.is_expired(kept));
        // What was begun comes first, or nothing else can begin.
        expired.sort_by_key(|partition| partition.state != PartitionState::Detaching);
        Ok(expired)
    }

    /// Drops the partitions of months that are no longer kept, oldest first, until one cannot be: a long transaction
    /// looks at it, or its export fails. The next call goes on there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the partitions cannot be listed.
    pub async fn enforce_retention(&self) -> Result<Retention, Error> {
        let mut done = Retention::default();
        for partition in self.expired().await? {
            match self.retire(&partition).await {
                Ok(Retired::Kept(reason)) => {
                    tracing::warn!(partition = partition.name, %reason, "older than samples are kept, and not dropped");
                    done.kept.push((partition.name, reason));
                }
                Ok(Retired::Dropped(export)) => {
                    PARTITIONS_DROPPED.increment(TABLE);
                    tracing::info!(
                        partition = partition.name,
                        bytes = partition.bytes,
                        export,
                        "no longer kept: dropped"
                    );
                    done.dropped.push(Dropped { name: partition.name, export });
                }
                Err(reason) => {
                    PARTITION_DROP_FAILURES.increment(TABLE);
                    tracing::warn!(partition = partition.name, reason, "no longer kept, and cannot be dropped");
                    done.failed = Some((partition.name, reason));
                    break;
                }
            }
        }
        Ok(done)
    }

    /// Whether a partition may be dropped now, by its newest rows and the clock of the database.
    async fn check(&self, partition: &Partition) -> Result<Option<Reason>, String> {
        let reading = self.clock.read().await.and_then(Reading::verified);
        let now = reading.map_err(|error| error.to_string())?;
        let rows = self.partitions.last_rows(partition).await.map_err(|error| error.to_string())?;
        Ok(partition.may_be_dropped(rows, self.kept(now)).err())
    }

    async fn retire(&self, partition: &Partition) -> Result<Retired, String> {
        // Both checks read the whole table; one that is detached already needs one of them.
        if partition.state != PartitionState::Detached
            && let Some(reason) = self.check(partition).await?
        {
            return Ok(Retired::Kept(reason));
        }
        let timeout = self.settings.retention_timeout;
        let reason = |error: db::Error| {
            if error.is_timeout() {
                format!("transactions that look at it did not end within {timeout:?}")
            } else {
                error.reason()
            }
        };
        let failed = |error: ExportError| format!("its export: {error}");
        if let Some(bucket) = &self.settings.exports {
            // While the place is not there, the month can at least be read.
            bucket.check(Purpose::Exports).await.map_err(|refused| failed(refused.into()))?;
        }
        if let Some(month) = partition.month
            && let Some(until) = self.partitions.held_until(month).await.map_err(reason)?
        {
            return Err(format!("its month is held until {until}"));
        }
        self.partitions.detach(partition, timeout).await.map_err(reason)?;
        // Rows that came meanwhile; from now on none come.
        if let Some(reason) = self.check(partition).await? {
            return Ok(Retired::Kept(reason));
        }
        let export = match &self.settings.exports {
            // From here on nobody writes to it.
            Some(bucket) => {
                let export = self.export_partition(partition, bucket).await.map_err(failed)?;
                // What was written and read back since then may have been in the folder below the disk.
                bucket.check(Purpose::Exports).await.map_err(|refused| failed(refused.into()))?;
                export
            }
            None => None,
        };
        if self.partitions.drop_detached(partition, timeout).await.map_err(reason)? {
            Ok(Retired::Dropped(export))
        } else {
            Err("its month is held since then".to_owned())
        }
    }

    /// Writes a detached table to the bucket and reads back that it is whole. Its name tells its contents, so that an export
    /// after an interruption finds what is there, and overwrites nothing else.
    async fn export_partition(&self, partition: &Partition, bucket: &Bucket) -> Result<Option<String>, ExportError> {
        let contents = self.partitions.contents(partition).await?;
        if contents.rows == 0 {
            return Ok(None);
        }
        let digest = contents.hex();
        let name = format!("{}-{}.parquet", partition.name, &digest[..NAMED]);
        let place = bucket.locate(&name);
        if !is_whole(bucket, &name, contents.rows, &digest).await? {
            let reader = self.partitions.read_detached(partition).await?;
            let mut upload = bucket.upload(&name);
            match copy(reader, &mut upload, &place, &digest).await {
                Ok((copied, bytes)) if copied == contents => {
                    let failed = |error: std::io::Error| ExportError::Write(place.clone(), error.to_string());
                    upload.finish().await.map_err(failed)?;
                    PARTITIONS_EXPORTED_BYTES.add(TABLE, bytes);
                }
                other => {
                    upload.abandon().await;
                    let (copied, _) = other?;
                    return Err(ExportError::Changed { read: copied.rows, rows: contents.rows });
                }
            }
            if !is_whole(bucket, &name, contents.rows, &digest).await? {
                return Err(ExportError::Write(place, "it is not there afterwards".to_owned()));
            }
        }
        PARTITIONS_EXPORTED.increment(TABLE);
        Ok(Some(place))
    }
}

/// Whether the bucket has the file; an error when it has another under its name.
async fn is_whole(bucket: &Bucket, name: &str, rows: u64, digest: &str) -> Result<bool, ExportError> {
    let place = bucket.locate(name);
    let opened = open(bucket, name).await.map_err(|error| ExportError::Write(place.clone(), error.to_string()))?;
    match opened {
        None => Ok(false),
        Some(Ok(file)) if file.rows() == rows && file.note(NOTE) == Some(digest) => Ok(true),
        Some(Ok(file)) => Err(ExportError::Differs(place, format!("{} rows for {rows}", file.rows()))),
        Some(Err(error)) => Err(ExportError::Differs(place, error.to_string())),
    }
}

/// Reads, encodes and sends piece by piece; answers what was read, and how many bytes were sent.
async fn copy(
    mut reader: SampleReader,
    upload: &mut Upload,
    place: &str,
    digest: &str,
) -> Result<(Contents, u64), ExportError> {
    let mut file = SampleFile::new(&[(NOTE, digest.to_owned())])?;
    let (mut contents, mut sent) = (Contents::default(), 0);
    loop {
        let samples = reader.next(PIECE).await?;
        for sample in &samples {
            contents.add(sample);
        }
        let last = samples.is_empty();
        // Requests should not wait for it.
        let work = tokio::task::spawn_blocking(move || {
            if last {
                return Ok((file.finish()?, None));
            }
            let bytes = file.push(&samples)?;
            Ok((bytes, Some(file)))
        });
        let (bytes, rest) = work.await.map_err(|_| ExportError::Stopped)?.map_err(ExportError::Encode)?;
        sent += bytes.len() as u64;
        upload.push(bytes).await.map_err(|error| ExportError::Write(place.to_owned(), error.to_string()))?;
        match rest {
            Some(rest) => file = rest,
            None => return Ok((contents, sent)),
        }
    }
}
