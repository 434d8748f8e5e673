//! The folders that this process writes to: its log files; exports and artifacts that go to a folder.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

use super::Service;
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::Volume;
use crate::telemetry::catalogue::telemetry::{VOLUME_FREE, VOLUME_SIZE};
pub use crate::telemetry::files::{Pruned, Retention};

impl Service {
    /// Deletes log files that are too old or beyond the size; nothing to do where none are written.
    ///
    /// # Errors
    /// When they cannot be read or deleted; the next call tries again.
    pub async fn prune_logs(&self) -> io::Result<Option<Pruned>> {
        let Some(logs) = self.settings.logs.clone() else { return Ok(None) };
        let now = self.now();
        let pruned = tokio::task::spawn_blocking(move || logs.prune(now)).await;
        pruned.map_err(io::Error::other)?.map(Some)
    }

    /// Publishes how full the file systems of these folders are.
    pub async fn observe_volumes(&self) {
        let logs = self.settings.logs.as_ref().map(|logs| (Volume::Logs, logs.folder.to_path_buf()));
        let exports = self.settings.export.as_ref().and_then(|bucket| Some((Volume::Exports, bucket.folder()?)));
        let artifacts = self.settings.artifacts.as_ref();
        let artifacts = artifacts.and_then(|storage| Some((Volume::Artifacts, storage.bucket.folder()?)));
        for (volume, folder) in logs.into_iter().chain(exports).chain(artifacts) {
            // A file system over the network may make its caller wait.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || observe(volume, &folder)).await {
                tracing::debug!(volume = volume.as_str(), %error, "a file system cannot be asked");
            }
        }
    }
}

fn observe(volume: Volume, folder: &Path) -> io::Result<()> {
    let system = statvfs(folder)?;
    VOLUME_SIZE.set((volume,), figure(system.f_blocks.saturating_mul(system.f_frsize)));
    VOLUME_FREE.set((volume,), figure(system.f_bavail.saturating_mul(system.f_frsize)));
    Ok(())
}
