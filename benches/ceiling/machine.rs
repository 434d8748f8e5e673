//! What the figures depend on beside the program.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Writes whose median tells the pace of the disk.
const SYNCS: usize = 200;

/// The machine and the versions.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Names and values, in the order of the document.
    pub(crate) lines: Vec<(&'static str, String)>,
}

impl Facts {
    /// Looks around; what cannot be found is called unknown. `directory` is where the database is.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn gather(directory: &Path, postgres: &str) -> Result<Self> {
        let cores = std::thread::available_parallelism()?;
        let memory = value("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let sync = fdatasync(directory)?;
        Ok(Self {
            lines: vec![
                ("Date", chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string()),
                ("Commit", said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])),
                ("Cores (`nproc`)", format!("{cores}, shared by all that take part")),
                ("Processor", value("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
                ("Memory", memory.map_or_else(unknown, |kib| format!("{} MiB", kib / 1024))),
                ("Kernel", kernel.trim().to_owned()),
                ("fdatasync of 8 KiB, median", format!("{} µs", sync.as_micros())),
                ("PostgreSQL", postgres.to_owned()),
                ("Redis", said("redis-server", &["--version"])),
                ("wrk", said("wrk", &["-v"])),
                ("rustc", said("rustc", &["--version"])),
            ],
        })
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value behind a name, as the files of /proc have them.
fn value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line that a command writes; wrk ends with 1 when asked for its version.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().map_or_else(unknown, |line| line.trim().to_owned())
}

/// What a commit costs at least.
fn fdatasync(directory: &Path) -> Result<Duration> {
    let path = directory.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.write_all(&[1; 8192])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}
