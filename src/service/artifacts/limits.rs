//! How much of the storage an entry and a service may use.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ArtifactService;
use crate::service::error::Error;
use crate::store::artifacts::Usage;

/// How old the known sum of a service may be. Within this time replicas together may exceed a service's limit by what each of them
/// takes; the limits of an entry are exact.
const FRESH: Duration = Duration::from_mins(1);

/// The settings of the section `limits`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Artifacts of one entry.
    pub artifacts_per_entry: u64,
    /// Bytes of all artifacts of one entry.
    pub artifact_bytes_per_entry: u64,
    /// Bytes of all artifacts of one service.
    pub artifact_bytes_per_service: u64,
}

/// The bytes of services that had uploads lately, and since when they are known. A sum over all artifacts of a service for every
/// upload would cost more than the upload.
#[derive(Debug, Default)]
pub(super) struct Services(Mutex<HashMap<String, (Instant, i64)>>);

impl Services {
    fn known(&self, service: &str) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(service).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, bytes)| *bytes)
    }

    fn learn(&self, service: &str, bytes: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < FRESH);
        known.insert(service.to_owned(), (Instant::now(), bytes));
    }

    /// Counts an upload that was attached.
    pub(super) fn add(&self, to: &Usage, size: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = known.get_mut(&to.service) {
            *bytes = bytes.saturating_add_unsigned(size).saturating_sub(to.replaced_bytes);
        }
    }
}

impl Limits {
    /// Whether an entry that uses this much may have another artifact of `size` bytes.
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub(super) fn check_entry(&self, entry: &str, usage: &Usage, size: u64) -> Result<(), Error> {
        let (others, bytes) = (usage.others, usage.other_bytes);
        if others.unsigned_abs() >= self.artifacts_per_entry {
            let has = format!("the entry {entry:?} has {others} artifacts");
            return Err(reached(&has, "artifacts_per_entry", self.artifacts_per_entry));
        }
        if exceeds(bytes, size, self.artifact_bytes_per_entry) {
            let has = format!("the other artifacts of the entry {entry:?} have {bytes} bytes, this one {size}");
            return Err(reached(&has, "artifact_bytes_per_entry", self.artifact_bytes_per_entry));
        }
        Ok(())
    }
}

impl ArtifactService {
    /// Whether the service of an entry that uses this much may have another artifact of `size` bytes.
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub(super) async fn check_service(&self, limits: &Limits, usage: &Usage, size: u64) -> Result<(), Error> {
        let (service, most) = (&usage.service, limits.artifact_bytes_per_service);
        let fits = |bytes: i64| !exceeds(bytes.saturating_sub(usage.replaced_bytes).max(0), size, most);
        if self.services.known(service).is_some_and(fits) {
            return Ok(());
        }
        // Also when what is known refuses it: artifacts may have been deleted since.
        let bytes = self.artifacts.bytes_of_service(service).await?;
        self.services.learn(service, bytes);
        if fits(bytes) {
            return Ok(());
        }
        let has = format!("the artifacts of the service {service:?} have {bytes} bytes, this one {size}");
        Err(reached(&has, "artifact_bytes_per_service", most))
    }
}

fn exceeds(bytes: i64, more: u64, most: u64) -> bool {
    bytes.unsigned_abs().saturating_add(more) > most
}

fn reached(has: &str, setting: &str, most: u64) -> Error {
    Error::LimitReached(format!(
        "{has}; limits.{setting} is {most}: delete artifacts that are no longer needed, or have the operator raise the limit"
    ))
}
