//! Where the database keeps its write-ahead log, when that is on this machine.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::probe::nameless;

/// The log's file system.
#[derive(Debug)]
pub(super) struct Place {
    /// Of the database's data, for people.
    pub(super) directory: PathBuf,
    /// Number of the device.
    pub(super) device: (u64, u64),
    /// Where the probe may write.
    pub(super) probe: Option<PathBuf>,
}

impl Place {
    /// Finds it by the directory that the command line names, or by the server's process: the server changes into its data
    /// directory. `spare` is where else the probe may write.
    ///
    /// # Errors
    /// When neither is known, or it cannot be entered.
    pub(super) fn find(directory: Option<&Path>, spare: &Path) -> Result<Self> {
        let pid = env::var("DGM_POSTGRES_PID").ok().filter(|pid| !pid.is_empty());
        let given = match (directory, pid) {
            (Some(directory), _) => directory.to_owned(),
            (None, Some(pid)) => PathBuf::from(format!("/proc/{pid}/cwd")),
            (None, None) => anyhow::bail!("neither --data-directory nor DGM_POSTGRES_PID names a PostgreSQL here"),
        };
        let directory = fs::canonicalize(&given).with_context(|| given.display().to_string())?;
        // Often a link to a disk of its own.
        let log = given.join("pg_wal");
        let number = fs::metadata(&log).with_context(|| log.display().to_string())?.dev();
        let on_it = |folder: &Path| fs::metadata(folder).is_ok_and(|folder| folder.dev() == number);
        let log = fs::canonicalize(&log).unwrap_or(log);
        // Outside of the data directory, where nothing but the database's files belongs.
        let around = log.ancestors().filter(|folder| !folder.starts_with(&directory));
        let (temporary, here) = (env::temp_dir(), spare.to_owned());
        let around = around.map(Path::to_owned).chain([temporary, here]);
        let probe = around.into_iter().find(|folder| on_it(folder) && nameless(folder).is_ok());
        Ok(Self { directory, device: (major(number), minor(number)), probe })
    }
}

/// As in `makedev(3)`.
const fn major(device: u64) -> u64 {
    (device >> 8 & 0xfff) | (device >> 32 & !0xfff)
}

const fn minor(device: u64) -> u64 {
    (device & 0xff) | (device >> 12 & !0xff)
}
