//! The target of exports: whether it is there, and the files in it.

use std::time::Duration;

use bytes::Bytes;

use super::PartitionService;
use crate::domain::health::ExportsStatus;
use crate::interchange::exported_file::ExportedFile;
use crate::interchange::sample_file;
use crate::objects::{self, Bucket, Purpose, Refused};
use crate::telemetry::catalogue::artifacts::TARGET_READY;
use crate::telemetry::catalogue::labels::Target;

/// Enough of a file's end for the footer of some thousand row groups, and for those of any file that will be.
const FOOTER: u64 = 1 << 20;
const LONG_FOOTER: u64 = 1 << 26;
/// The footer's note of the digest of the contents.
pub(super) const NOTE: &str = "dgm.sha256";
/// Time between two looks at the target.
const INTERVAL: Duration = Duration::from_secs(15);

/// The footer of a file of the bucket; `None` when there is no such file.
pub(super) async fn open(
    bucket: &Bucket,
    name: &str,
) -> Result<Option<Result<ExportedFile, sample_file::Error>>, objects::Error> {
    let Some((size, end)) = bucket.end(name, FOOTER).await? else { return Ok(None) };
    Ok(Some(match ExportedFile::open(size, &end) {
        Err(_) if size > FOOTER => {
            let (_, more) = bucket.end(name, LONG_FOOTER).await?.unwrap_or((0, Bytes::new()));
            ExportedFile::open(size, &more)
        }
        other => other,
    }))
}

impl PartitionService {
    /// Whether the target of exports is initialised and takes, gives back and removes a file. Answers where it is; `None` without
    /// exports.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn probe_exports(&self) -> Result<Option<String>, Refused> {
        let Some(bucket) = &self.settings.exports else { return Ok(None) };
        bucket.check(Purpose::Exports).await?;
        bucket.probe("").await?;
        Ok(Some(bucket.place()))
    }

    /// State of the target of exports, by the last look at it.
    #[must_use]
    pub fn exports_status(&self) -> ExportsStatus {
        *self.exports_status.borrow()
    }

    /// Looks at the target of exports now and every 15 s, and logs what changes. Nothing is dropped while it is not there, which
    /// would be found out when the next month expires.
    pub async fn watch_exports(&self) {
        let Some(bucket) = &self.settings.exports else { return };
        let mut outcome = self.probe_exports().await.map(drop);
        loop {
            let status = if outcome.is_ok() { ExportsStatus::Ready } else { ExportsStatus::Unavailable };
            TARGET_READY.set((Target::Exports,), if outcome.is_ok() { 1.0 } else { 0.0 });
            if self.exports_status.send_replace(status) != status {
                match outcome {
                    Ok(()) => tracing::info!(target_of_exports = bucket.place(), "exported months can be written"),
                    Err(reason) => {
                        tracing::error!(%reason, "samples.export_url: months cannot be exported, and will not be dropped");
                    }
                }
            }
            tokio::time::sleep(INTERVAL).await;
            outcome = bucket.check(Purpose::Exports).await;
        }
    }
}
