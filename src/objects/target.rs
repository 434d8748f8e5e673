//! Targets: places that were initialised for one purpose, which a marker in them states.
//!
//! Where a disk is not mounted there is an empty folder. What is written to it disappears below the disk as soon as that is mounted, and
//! the rows or files that it was the copy of may be gone by then. So nothing is written to a target without its marker.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path as Folder;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Bucket;
use crate::closed::closed;

closed! {
    /// What a target is for.
    pub Purpose "purpose of a target" {
        /// A copy of artifacts and exported months.
        Backup "backup",
        /// Exported months of samples.
        Exports "exports",
        /// Artifacts of entries.
        Artifacts "artifacts",
    }
}

/// Name of the marker. Spark, Arrow and the like skip names that begin with an underscore when they read a folder.
pub const MARKER: &str = "_dgm-target.json";
/// The format of the marker and of what is next to it.
const FORMAT: u32 = 1;
/// More than any marker has.
const MAX_MARKER: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    purpose: String,
    /// For people.
    written_by: String,
}

/// Why a place is not a target for a purpose.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no folder.
    #[error(
        "{place}: there is no such folder. Mount the disk; if this is a new target, `dgm files init --purpose {purpose} {place}`"
    )]
    NoFolder {
        /// Where.
        place: String,
        /// For what.
        purpose: Purpose,
    },
    /// There is no marker.
    #[error(
        "{place}: it is not initialised, {MARKER} is missing. Mount the disk, or correct the URL; if this is a new target, \
         `dgm files init --purpose {purpose} {place}`"
    )]
    NoMarker {
        /// Where.
        place: String,
        /// For what.
        purpose: Purpose,
    },
    /// The folder that a new target would be created in does not exist.
    #[error("{place}: {parent} does not exist. Mount the disk, or create that folder first")]
    NoParent {
        /// Where.
        place: String,
        /// The folder above it.
        parent: String,
    },
    /// It is a target for another purpose.
    #[error(
        "{place}: {MARKER} says that it is the target for {found}, not for {purpose}. Each purpose needs a place of its own"
    )]
    OtherPurpose {
        /// Where.
        place: String,
        /// For what it is.
        found: String,
        /// For what it should be.
        purpose: Purpose,
    },
    /// The marker cannot be understood.
    #[error("{place}: {MARKER} {reason}")]
    BadMarker {
        /// Where.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place cannot be read or written.
    #[error("{place}: {source}")]
    Storage {
        /// Where.
        place: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Refused {
    /// Whether nothing says what the place is: it may be new, or not mounted.
    #[must_use]
    pub const fn is_uninitialised(&self) -> bool {
        matches!(self, Self::NoFolder { .. } | Self::NoMarker { .. })
    }
}

impl Bucket {
    /// Whether this is the target for a purpose.
    ///
    /// # Errors
    /// States why it is not.
    pub async fn check(&self, purpose: Purpose) -> Result<(), Refused> {
        let place = self.place();
        let Some((size, text)) = self.end(MARKER, MAX_MARKER).await.map_err(|error| self.failed(error))? else {
            let folder = self.folder().filter(|folder| !folder.exists());
            return Err(match folder {
                Some(_) => Refused::NoFolder { place, purpose },
                None => Refused::NoMarker { place, purpose },
            });
        };
        let bad = |reason: String| Refused::BadMarker { place: place.clone(), reason };
        if size > MAX_MARKER {
            return Err(bad(format!(
                "has {size} bytes, which no marker has. Move it away if it is not of this program"
            )));
        }
        let marker: Marker = serde_json::from_slice(&text)
            .map_err(|error| bad(format!("cannot be read ({error}). Move it away if it is not of this program")))?;
        if marker.format > FORMAT {
            let Marker { format, written_by, .. } = marker;
            return Err(bad(format!(
                "has format {format}, written by {written_by}; this program knows {FORMAT}. Use a newer one"
            )));
        }
        if marker.purpose != purpose.as_str() {
            return Err(Refused::OtherPurpose { place, found: marker.purpose, purpose });
        }
        Ok(())
    }

    /// Makes this the target for a purpose; `false`: it was before. Of a new folder the one above it must exist.
    ///
    /// # Errors
    /// As [`Bucket::check`].
    pub async fn initialise(&self, purpose: Purpose) -> Result<bool, Refused> {
        match self.check(purpose).await {
            Ok(()) => return Ok(false),
            Err(refused) if refused.is_uninitialised() => {}
            Err(refused) => return Err(refused),
        }
        let folder = self.folder();
        if let Some(parent) = folder.as_deref().and_then(Folder::parent).filter(|parent| !parent.exists()) {
            return Err(Refused::NoParent { place: self.place(), parent: parent.display().to_string() });
        }
        let marker = Marker {
            format: FORMAT,
            purpose: purpose.to_string(),
            written_by: concat!("dgm ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let text = serde_json::to_string(&marker).map_err(|error| self.failed(error))?;
        self.write(MARKER, text + "\n").await.map_err(|error| self.failed(error))?;
        self.check(purpose).await?;
        Ok(true)
    }

    /// Writes a small file below `folder`, looks at it and removes it.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn probe(&self, folder: &str) -> Result<(), Refused> {
        const TEXT: &str = "dgm";
        let name = format!("{folder}/probe-{}", Uuid::new_v4());
        self.write(&name, TEXT.to_owned()).await.map_err(|error| self.failed(error))?;
        let size = self.size(&name).await.map_err(|error| self.failed(error))?;
        self.remove(&name).await.map_err(|error| self.failed(error))?;
        if size == Some(TEXT.len() as u64) {
            Ok(())
        } else {
            Err(self.failed(std::io::Error::other("a file is not there after it was written")))
        }
    }

    /// Whether it is a folder of the file system that `/` is on, so that no disk is mounted for it.
    #[must_use]
    pub fn is_on_root_file_system(&self) -> bool {
        let device = |folder: &Folder| std::fs::metadata(folder).map(|found| found.dev()).ok();
        self.folder().is_some_and(|folder| device(&folder) == device(Folder::new("/")))
    }

    async fn write(&self, name: &str, text: String) -> std::io::Result<()> {
        let mut upload = self.upload(name);
        upload.push(text).await?;
        upload.finish().await
    }

    /// The URL, as a setting or an argument has it.
    #[must_use]
    pub fn place(&self) -> String {
        self.locate("").trim_end_matches('/').to_owned()
    }

    fn failed(&self, error: impl Into<std::io::Error>) -> Refused {
        Refused::Storage { place: self.place(), source: error.into() }
    }
}

impl From<Refused> for std::io::Error {
    fn from(refused: Refused) -> Self {
        Self::other(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Purpose::{Artifacts, Backup, Exports};

    fn at(folder: &Folder) -> Bucket {
        Bucket::open(&format!("file://{}", folder.display())).unwrap()
    }

    async fn refusal(folder: &Folder, purpose: Purpose) -> String {
        at(folder).check(purpose).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_place_is_a_target_for_the_purpose_that_its_marker_states() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("target");
        let target = at(&folder);
        assert!(refusal(&folder, Backup).await.contains("there is no such folder"));
        assert!(!folder.exists(), "a check creates nothing");
        assert!(target.initialise(Backup).await.unwrap());
        assert!(!target.initialise(Backup).await.unwrap(), "it was before");
        target.check(Backup).await.unwrap();
        for other in [Exports, Artifacts] {
            let refused = target.initialise(other).await.unwrap_err().to_string();
            assert!(refused.contains(&format!("is the target for backup, not for {other}")), "{refused}");
        }
        // The disk is not mounted: an empty folder is there.
        let mounted = work.path().join("elsewhere");
        std::fs::rename(&folder, &mounted).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let refused = refusal(&folder, Backup).await;
        assert!(refused.contains("_dgm-target.json is missing"), "{refused}");
        assert!(
            refused.contains(&format!("`dgm files init --purpose backup file://{}`", folder.display())),
            "{refused}"
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        // Nor is the folder above it.
        let refused = at(&work.path().join("not-mounted/x")).initialise(Backup).await.unwrap_err().to_string();
        assert!(refused.contains("not-mounted does not exist"), "{refused}");
        assert!(!work.path().join("not-mounted").exists());
    }

    #[tokio::test]
    async fn what_is_no_marker_is_neither_believed_nor_overwritten() {
        let work = tempfile::tempdir().unwrap();
        let marker = work.path().join(MARKER);
        let cases = [
            ("", "cannot be read"),
            ("notes", "cannot be read"),
            ("{\"format\": 1}", "cannot be read"),
            ("{\"format\": 2, \"purpose\": \"backup\", \"written_by\": \"dgm 9\"}", "has format 2, written by dgm 9"),
            (
                "{\"format\": 1, \"purpose\": \"pictures\", \"written_by\": \"x\"}",
                "the target for pictures, not for backup",
            ),
            (&"x".repeat(5000), "has 5000 bytes"),
        ];
        for (text, reason) in cases {
            std::fs::write(&marker, text).unwrap();
            let target = at(work.path());
            let refused = target.initialise(Backup).await.unwrap_err().to_string();
            assert!(refused.contains(reason), "{text:?}: {refused}");
            assert_eq!(std::fs::read_to_string(&marker).unwrap(), text);
        }
        // A file where the folder should be.
        let file = work.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(at(&file).initialise(Backup).await.is_err());
    }
}
