//! The block device as the kernel counts it: `/proc/diskstats`, of one device.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::stall::{Detector, Sample, Stall};

/// Between two samples.
const EVERY: Duration = Duration::from_millis(25);
/// Bytes of a sector in these files, whatever the device has.
const SECTOR: u64 = 512;

/// Counters of a device (Documentation/admin-guide/iostats.rst of the kernel).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) written_bytes: u64,
    /// Since kernel 5.5.
    pub(super) flushes: u64,
    /// Milliseconds in which something was outstanding.
    pub(super) busy_ms: u64,
    /// Milliseconds that writes and flushes took, all added up.
    pub(super) write_ms: u64,
}

impl Counters {
    /// Reads `/sys/dev/block/MAJOR:MINOR/stat`, which has the fields of the device's line in `/proc/diskstats`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let at = |place: usize| fields.get(place).copied();
        Some(Self {
            reads: at(0)?,
            writes: at(4)?,
            written_bytes: at(6)? * SECTOR,
            flushes: at(15).unwrap_or(0),
            busy_ms: at(9)?,
            write_ms: at(7)? + at(16).unwrap_or(0),
        })
    }
}

/// A sample from the text of `stat`, and of `inflight`: reads and writes that are outstanding.
pub(super) fn sample((asked, answered): (Instant, Instant), stat: &str, inflight: &str) -> Option<Sample<(u64, u64)>> {
    let counters = Counters::parse(stat)?;
    let outstanding = inflight.split_whitespace().nth(1)?.parse().ok()?;
    let progress = (counters.writes, counters.flushes);
    Some(Sample { asked, answered, progress, outstanding, detail: String::new() })
}

/// Watches a device, on a thread of its own.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    folder: PathBuf,
    before: Counters,
    running: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Stall>>,
}

impl Device {
    /// Starts with the device of this number.
    ///
    /// # Errors
    /// When the number is not that of a block device, as with the file systems of containers.
    pub(super) fn start((major, minor): (u64, u64)) -> Result<Self> {
        let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let name = fs::canonicalize(&folder).with_context(|| format!("no block device {major}:{minor}"))?;
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let before = read(&folder).with_context(|| format!("no counters in {}", folder.display()))?;
        let running = Arc::new(AtomicBool::new(true));
        let thread = thread::Builder::new().name("disk-device".to_owned()).spawn({
            let (running, folder) = (Arc::clone(&running), folder.clone());
            move || run(&running, &folder)
        })?;
        Ok(Self { name, folder, before, running, thread })
    }

    /// Stops, and answers the stalls and the counters at the start and now.
    pub(super) fn stop(self) -> (Vec<Stall>, Counters, Counters) {
        self.running.store(false, Ordering::Relaxed);
        let after = read(&self.folder).unwrap_or(self.before);
        (self.thread.join().unwrap_or_default(), self.before, after)
    }
}

fn read(folder: &Path) -> Option<Counters> {
    Counters::parse(&fs::read_to_string(folder.join("stat")).ok()?)
}

fn run(running: &AtomicBool, folder: &Path) -> Vec<Stall> {
    let mut detector = Detector::default();
    while running.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        let inflight = fs::read_to_string(folder.join("inflight")).unwrap_or_default();
        if let Some(sample) = sample((asked, Instant::now()), &stat, &inflight) {
            detector.add(sample);
        }
        thread::sleep(EVERY.saturating_sub(asked.elapsed()));
    }
    detector.finish()
}
