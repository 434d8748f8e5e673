//! What the use cases are configured with.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::artifacts::Storage;
use crate::domain::sample::Window;
use crate::objects::Bucket;
use crate::telemetry::files::Retention;

/// Configuration of the use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which samples are accepted.
    pub window: SampleWindow,
    /// Months whose partitions are created ahead.
    pub premake_months: u32,
    /// How long retention waits for transactions that read a partition.
    pub retention_timeout: Duration,
    /// Where samples are exported before their partition is dropped; `None`: nowhere.
    pub exports: Option<Bucket>,
    /// Where artifacts are stored; `None`: nowhere.
    pub artifacts: Option<Storage>,
    /// Where log files are and how many of them are kept; `None`: none are written.
    pub logs: Option<Retention>,
    /// Standbys that the primary has; 0: as many as were connected at the same time.
    pub standbys: u32,
    /// The data directory of the database server, where this process can reach it.
    pub data_directory: Option<PathBuf>,
    /// Bytes that the pools of parent selection may use.
    pub selection_max_bytes: usize,
    /// Lifetime of a session.
    pub session_ttl: Duration,
}

/// Which times of samples are accepted.
#[derive(Debug, Clone, Copy)]
pub struct SampleWindow {
    /// Months that samples are kept.
    pub retention_months: u32,
    /// How far in the future a sample may be.
    pub max_future: TimeDelta,
}

impl SampleWindow {
    /// The accepted times at a moment.
    #[must_use]
    pub fn around(&self, now: DateTime<Utc>) -> Window {
        Window::around(now, self.retention_months, self.max_future)
    }
}
