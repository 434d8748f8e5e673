//! A probe of the disk: a few bytes, written and flushed again and again, as PostgreSQL flushes its write-ahead log.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::stall::{PAUSE, Stall};
use crate::record::times;

/// Between two flushes.
const EVERY: Duration = Duration::from_millis(25);
/// Size of the file. It is written once before, so that a flush changes no metadata.
const SIZE: usize = 4096;

/// What the probe has seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// Microseconds of each flush, without the time that the probe waited for a processor.
    pub(super) times: hdrhistogram::Histogram<u64>,
    stalls: Vec<Stall>,
    starved: Vec<Starved>,
    since: Option<Instant>,
    running: bool,
}

/// A time in which a thread that was ready to run had no processor for so long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Starved {
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) waited: Duration,
}

/// Waits that are kept.
const STARVED: Duration = Duration::from_millis(10);

/// What a probe has seen in the end.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) times: hdrhistogram::Histogram<u64>,
    pub(super) stalls: Vec<Stall>,
    pub(super) starved: Vec<Starved>,
}

/// The probe, on a thread of its own since a flush blocks.
#[derive(Debug)]
pub(super) struct Probe(Arc<Mutex<Seen>>);

impl Probe {
    /// Starts it in a directory, where its file has no name.
    ///
    /// # Errors
    /// When a file cannot be created or flushed there.
    pub(super) fn start(directory: &Path) -> io::Result<Self> {
        let file = nameless(directory)?;
        file.write_all_at(&[0; SIZE], 0)?;
        file.sync_all()?;
        let seen = Arc::new(Mutex::new(Seen {
            times: times(),
            stalls: Vec::new(),
            starved: Vec::new(),
            since: None,
            running: true,
        }));
        let shared = Arc::clone(&seen);
        thread::Builder::new().name("disk-probe".to_owned()).spawn(move || run(&file, &shared))?;
        Ok(Self(seen))
    }

    /// Stops it and answers what it has seen. A flush that has not returned counts up to now, and is not waited for.
    pub(super) fn stop(self) -> Probed {
        let mut seen = lock(&self.0);
        seen.running = false;
        if let Some(since) = seen.since.take() {
            seen.note(since, Instant::now(), Duration::ZERO);
        }
        let (stalls, starved) = (std::mem::take(&mut seen.stalls), std::mem::take(&mut seen.starved));
        Probed { times: seen.times.clone(), stalls, starved }
    }
}

impl Seen {
    /// The processor was waited for before the flush began or after it ended.
    fn note(&mut self, from: Instant, to: Instant, waited: Duration) {
        let took = to.duration_since(from).saturating_sub(waited);
        // It grows, so that nothing is out of range.
        let _ = self.times.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        if took >= PAUSE {
            self.stalls.push(Stall { from, to: from + took, outstanding: 1, detail: String::new() });
        }
        if waited >= STARVED {
            self.starved.push(Starved { from, to, waited });
        }
    }
}

fn run(file: &File, seen: &Mutex<Seen>) {
    let mut value: u64 = 0;
    loop {
        let (began, waited) = (Instant::now(), waited_for_processor());
        {
            let mut seen = lock(seen);
            if !seen.running {
                return;
            }
            seen.since = Some(began);
        }
        value += 1;
        let outcome = file.write_all_at(&value.to_ne_bytes(), 0).and_then(|()| file.sync_data());
        let (ended, waited) = (Instant::now(), waited_for_processor().saturating_sub(waited));
        {
            let mut seen = lock(seen);
            // The task that stopped the probe has counted this flush.
            if seen.since.take().is_none() || outcome.is_err() {
                return;
            }
            seen.note(began, ended, waited);
        }
        thread::sleep(EVERY.saturating_sub(ended.duration_since(began)));
    }
}

/// How long this thread has been ready to run without a processor, since it started; 0 where the kernel does not count it.
fn waited_for_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0))
}

/// A file that is gone when the last to hold it is.
pub(super) fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(".dgm-loadtest-{}", uuid::Uuid::new_v4()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Nothing is half done while it is held.
fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
