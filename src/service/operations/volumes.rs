//! The folders that this process writes to (log files, and exports and artifacts that go to a folder) and the data directory of the
//! database server, where it can be reached.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::OperationsService;
use crate::domain::clock::Reading;
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::Volume;
use crate::telemetry::catalogue::telemetry::{VOLUME_FREE, VOLUME_SIZE};
use crate::telemetry::files::{Pruned, Retention};

/// The folders, as far as there are any.
#[derive(Debug)]
pub(in crate::service) struct Volumes {
    /// Log files and how many of them are kept.
    pub(in crate::service) logs: Option<Retention>,
    pub(in crate::service) exports: Option<PathBuf>,
    pub(in crate::service) artifacts: Option<PathBuf>,
    /// The data directory of the database server.
    pub(in crate::service) database: Option<PathBuf>,
}

impl OperationsService {
    /// Deletes log files that are too old or beyond the size; `None`: no log files are written. Their age counts only while the
    /// clock is certain, since this machine's names them; the size counts always, or a lost database would fill the disk.
    ///
    /// # Errors
    /// When they cannot be read or deleted; the next call tries again.
    pub async fn prune_logs(&self) -> io::Result<Option<Pruned>> {
        let Some(logs) = self.volumes.logs.clone() else { return Ok(None) };
        let now = self.clock.read().await.and_then(Reading::verified);
        if let Err(error) = &now {
            tracing::warn!(%error, "log files are kept whatever their age");
        }
        let pruned = tokio::task::spawn_blocking(move || logs.prune(now.ok())).await;
        pruned.map_err(io::Error::other)?.map(Some)
    }

    /// Publishes size and free space of the file systems of these folders.
    pub async fn measure_volumes(&self) {
        let Volumes { logs, exports, artifacts, database } = &*self.volumes;
        let folders = [
            (Volume::Logs, logs.as_ref().map(|logs| logs.folder.to_path_buf())),
            (Volume::Exports, exports.clone()),
            (Volume::Artifacts, artifacts.clone()),
            (Volume::Database, database.clone()),
            // It may be a link to another disk.
            (Volume::Wal, database.as_ref().map(|folder| folder.join("pg_wal"))),
        ];
        for (volume, folder) in folders.into_iter().filter_map(|(volume, folder)| Some((volume, folder?))) {
            // A network file system may block its caller.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || publish(volume, &folder)).await {
                tracing::debug!(volume = volume.as_str(), %error, "a file system cannot be measured");
            }
        }
    }
}

fn publish(volume: Volume, folder: &Path) -> io::Result<()> {
    let system = statvfs(folder)?;
    VOLUME_SIZE.set((volume,), figure(system.f_blocks.saturating_mul(system.f_frsize)));
    VOLUME_FREE.set((volume,), figure(system.f_bavail.saturating_mul(system.f_frsize)));
    Ok(())
}
