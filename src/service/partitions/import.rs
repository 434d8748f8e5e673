//! Exported months, back in the table.

use chrono::{DateTime, NaiveDate, Utc};
use tokio_util::sync::CancellationToken;

use super::PartitionService;
use super::exports::{NOTE, open};
use crate::db;
use crate::domain::contents::Contents;
use crate::domain::partition::month_of;
use crate::domain::sample::Sample;
use crate::interchange::exported_file::ExportedFile;
use crate::objects::Bucket;

/// Samples of one transaction.
const BATCH: usize = 10_000;

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The month.
    pub month: NaiveDate,
    /// Samples of the file.
    pub samples: u64,
    /// Those that are in the table now.
    pub stored: u64,
    /// Those that were not in it before.
    pub new: u64,
    /// Until when retention leaves the month alone.
    pub held_until: DateTime<Utc>,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Samples of the file that were checked, of all.
    Checked(u64, u64),
    /// Samples of the file that are in the table, of all.
    Stored(u64, u64),
}

/// Why a file was not imported, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no such place.
    #[error("{0}")]
    Place(String),
    /// The file cannot be read, or is no whole export of one month. Nothing was imported.
    #[error("{0}: {1}; nothing was imported")]
    File(String, String),
    /// The caller stopped it while the file was checked.
    #[error("stopped before anything was imported")]
    StoppedBefore,
    /// The caller stopped it.
    #[error("stopped after {} of {} samples; the same command continues", .0.stored, .0.samples)]
    Stopped(Imported),
    /// The database failed, or the file while it was read again.
    #[error("stopped after {stored} samples, the same command continues: {reason}")]
    Failed {
        /// Samples that are in the table.
        stored: u64,
        /// Why.
        reason: String,
    },
}

/// A file of the bucket.
struct Source {
    bucket: Bucket,
    name: String,
    file: ExportedFile,
}

impl Source {
    async fn open(place: &str) -> Result<Self, ImportError> {
        let (bucket, name) = Bucket::of_file(place).map_err(ImportError::Place)?;
        let unreadable = |reason: String| ImportError::File(place.to_owned(), reason);
        let found = open(&bucket, &name).await.map_err(|error| unreadable(error.to_string()))?;
        let file = found.ok_or_else(|| ImportError::Place(format!("{place}: there is no such file")))?;
        let file = file.map_err(|error| unreadable(error.to_string()))?;
        file.check_columns().map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { bucket, name, file })
    }

    async fn read(&self, group: usize) -> Result<Vec<Sample>, String> {
        let range = self.file.range(group).map_err(|error| error.to_string())?;
        let (start, file) = (range.start, self.file.clone());
        let bytes = self.bucket.range(&self.name, range).await.map_err(|error| error.to_string())?;
        // A damaged file may make the decoder panic, which ends up here as an error, too.
        let decoded = tokio::task::spawn_blocking(move || file.decode(group, start, bytes)).await;
        decoded.map_err(|_| "it is damaged".to_owned())?.map_err(|error| error.to_string())
    }

    /// Reads all of it and returns its month.
    async fn check(
        &self,
        stop: &CancellationToken,
        progress: &mut impl FnMut(Progress),
    ) -> Result<NaiveDate, CheckError> {
        let (mut month, mut contents) = (None, Contents::default());
        for group in 0..self.file.groups() {
            for sample in self.read(group).await? {
                let of = month_of(sample.measurement_timestamp);
                let first = *month.get_or_insert(of);
                if of != first {
                    return Err("it holds samples of more than one month, which no export does".to_owned().into());
                }
                sample.validate().map_err(|invalid| format!("sample {}: {invalid}", sample.id))?;
                contents.add(&sample);
            }
            progress(Progress::Checked(contents.rows, self.file.rows()));
            if stop.is_cancelled() {
                return Err(CheckError::Stopped);
            }
        }
        if contents.rows != self.file.rows() {
            return Err(format!("it holds {} samples in place of {}", contents.rows, self.file.rows()).into());
        }
        // Exports of before had no digest.
        if let Some(digest) = self.file.note(NOTE).filter(|digest| *digest != contents.hex()) {
            return Err(format!("its samples are not those that were exported: their digest should be {digest}").into());
        }
        month.flatten().ok_or_else(|| "it holds no samples".to_owned().into())
    }
}

enum CheckError {
    Stopped,
    File(String),
}

impl From<String> for CheckError {
    fn from(reason: String) -> Self {
        Self::File(reason)
    }
}

impl PartitionService {
    /// Imports a file that retention wrote, from a path or the URL of a folder or bucket. All of it is checked before the first sample is
    /// stored. The month is held for `keep_days`. A sample that is there already stays as it is.
    ///
    /// `stop` is looked at between two transactions.
    ///
    /// # Errors
    /// [`ImportError`]; what was stored until then stays, and the next call continues.
    pub async fn import(
        &self,
        place: &str,
        keep_days: u16,
        stop: &CancellationToken,
        mut progress: impl FnMut(Progress),
    ) -> Result<Imported, ImportError> {
        let source = Source::open(place).await?;
        let month = source.check(stop, &mut progress).await.map_err(|error| match error {
            CheckError::Stopped => ImportError::StoppedBefore,
            CheckError::File(reason) => ImportError::File(place.to_owned(), reason),
        })?;
        let failed = |stored: u64| move |error: db::Error| ImportError::Failed { stored, reason: error.to_string() };
        // Before the first row: from here on retention leaves the month alone.
        let held_until = self.partitions.hold(month, keep_days).await.map_err(failed(0))?;
        let mut imported = Imported { month, samples: source.file.rows(), stored: 0, new: 0, held_until };
        for group in 0..source.file.groups() {
            let samples = source.read(group).await;
            let samples = samples.map_err(|reason| ImportError::Failed { stored: imported.stored, reason })?;
            for batch in samples.chunks(BATCH) {
                if stop.is_cancelled() {
                    return Err(ImportError::Stopped(imported));
                }
                imported.new += self.partitions.restore(month, batch).await.map_err(failed(imported.stored))?;
                imported.stored += batch.len() as u64;
                progress(Progress::Stored(imported.stored, imported.samples));
            }
        }
        Ok(imported)
    }

    /// Ends the hold of a month, so that retention drops it when it is older than the window; `false`: it has none.
    ///
    /// # Errors
    /// [`super::Error::Unavailable`].
    pub async fn release(&self, month: NaiveDate) -> Result<bool, super::Error> {
        Ok(self.partitions.release(month).await?)
    }
}
