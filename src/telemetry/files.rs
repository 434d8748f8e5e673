//! Logs in files, one an hour: `dgm.2026-11-25-05.log`, by UTC. A thread of its own writes; a line that it cannot take, for
//! the disk is slow, or write, for it is full, is counted and gone. Nobody waits for a log line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::catalogue::labels::LogFailure;
use super::catalogue::telemetry::LOG_FAILURES;

/// Lines that may wait for the disk: at a few hundred bytes a line some megabytes.
const WAITING: usize = 16_384;
/// How a file is named.
const NAME: &str = "dgm.%Y-%m-%d-%H.log";

/// Lines that were lost to a full queue: the counter of the library, and what of it is in the metric.
static LOST: Mutex<Option<(ErrorCounter, usize)>> = Mutex::new(None);

/// Starts the thread that writes; what waits when the guard is dropped is written.
///
/// # Errors
/// When the folder cannot be made or written to. A full disk is no error: there may be room later.
pub(super) fn open(folder: &Path) -> io::Result<(NonBlocking, WorkerGuard)> {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log-files")
        .finish(Counted::new(Hourly::open(folder)?));
    *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some((writer.error_counter(), 0));
    Ok((writer, guard))
}

/// Brings the metric of lost lines up to date.
pub fn observe() {
    if let Some((counter, told)) = LOST.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        let lost = counter.dropped_lines();
        LOG_FAILURES.add((LogFailure::Queue,), lost.saturating_sub(*told) as u64);
        *told = lost;
    }
}

/// The file of the hour. What cannot be opened is tried again with the next line; until then lines go to the file before,
/// if any. (The library's own files would tell standard error of it, panic when that is gone, and wait for the next hour.)
struct Hourly {
    folder: PathBuf,
    name: String,
    file: Option<File>,
}

impl Hourly {
    fn open(folder: &Path) -> io::Result<Self> {
        let mut hourly = Self { folder: folder.to_owned(), name: String::new(), file: None };
        match hourly.turn(Utc::now()) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(error)
            }
            _ => Ok(hourly),
        }
    }

    /// Turns to the file of an hour.
    fn turn(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        let name = now.format(NAME).to_string();
        if self.file.is_none() || name != self.name {
            fs::create_dir_all(&self.folder)?;
            self.file = Some(OpenOptions::new().append(true).create(true).open(self.folder.join(&name))?);
            self.name = name;
        }
        Ok(())
    }
}

impl Write for Hourly {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let turned = self.turn(Utc::now());
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => turned.map(|()| 0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A file is not buffered.
        Ok(())
    }
}

/// Counts lines that cannot be written. One that was cut off ends there: the next begins a line of its own.
struct Counted<W> {
    inner: W,
    cut: bool,
}

impl<W: Write> Counted<W> {
    const fn new(inner: W) -> Self {
        Self { inner, cut: false }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.cut {
            self.inner.write_all(b"\n")?;
            self.cut = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.inner.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.cut = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Counted<W> {
    /// A whole line, or nothing that anybody is told of.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.line(line).is_err() {
            LOG_FAILURES.increment((LogFailure::Write,));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// How much of the log files is kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Where they are.
    pub folder: Arc<Path>,
    /// Days that they are kept.
    pub days: u32,
    /// Most bytes of all together.
    pub max_bytes: u64,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Retention {
    /// Deletes what is too old, unless the time is unknown, then the oldest beyond the size. The newest stays in any case, since it
    /// may be the one that is being written, and so does what is not a log file of ours.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not deleted.
    pub fn prune(&self, now: Option<DateTime<Utc>>) -> io::Result<Pruned> {
        let mut files = self.files()?;
        let mut bytes: u64 = files.iter().map(|(_, _, size)| size).sum();
        files.pop();
        let oldest = now.and_then(|now| now.naive_utc().checked_sub_signed(TimeDelta::days(self.days.into())));
        let mut pruned = Pruned::default();
        for (hour, path, size) in files {
            // A file ends an hour after it began.
            if oldest.is_none_or(|oldest| hour + TimeDelta::hours(1) > oldest) && bytes <= self.max_bytes {
                break;
            }
            match fs::remove_file(&path) {
                // Another process that logs there was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    pruned.files += 1;
                    pruned.bytes += size;
                }
            }
            bytes = bytes.saturating_sub(size);
        }
        Ok(pruned)
    }

    /// Hour, path and size of our files, the oldest first.
    fn files(&self) -> io::Result<Vec<(NaiveDateTime, PathBuf, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(hour) = entry.file_name().to_str().and_then(hour) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => files.push((hour, entry.path(), metadata.len())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// When the file of a name begins; nothing for a name that is not ours.
fn hour(name: &str) -> Option<NaiveDateTime> {
    // An hour alone is no time to chrono.
    let (name, format) = (name.strip_suffix(".log")?, NAME.strip_suffix(".log")?);
    let hour = NaiveDateTime::parse_from_str(&format!("{name}:00"), &format!("{format}:%M")).ok()?;
    (hour.format(NAME).to_string() == format!("{name}.log")).then_some(hour)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
