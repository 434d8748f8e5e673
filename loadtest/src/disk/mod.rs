//! Whether the disk paused while the load ran, so that a slow disk is not taken for a slow service, nor the other way round.
//!
//! Three observers, none of which can be fooled by a statement that waits for something else: a probe that flushes a few bytes
//! to the file system of the write-ahead log, the kernel's counters of its device, and PostgreSQL's own waits for flushes of the
//! log together with the position up to which it is flushed. docs/LOADTEST.md, "When the disk pauses", says how to read them.

mod device;
mod effect;
mod place;
mod probe;
mod sessions;
mod stall;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use self::device::{Counters, Device};
pub(crate) use self::effect::{Effect, effects};
use self::place::Place;
use self::probe::{Probe, Starved};
use self::sessions::Sessions;
pub(crate) use self::stall::PAUSE;
use self::stall::Stall;
use crate::figures::millis;

/// What was seen of the disk while requests were sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// The database's data directory.
    pub(crate) directory: Option<String>,
    /// What could not be watched, and why.
    pub(crate) unknown: Vec<String>,
    /// The probe's flushes.
    pub(crate) probe: Option<Flushes>,
    pub(crate) device: Option<DeviceFigures>,
    /// What PostgreSQL's processes waited for, most first; `None` when it was not asked.
    pub(crate) waits: Option<Vec<Wait>>,
    /// In their order.
    pub(crate) pauses: Vec<Pause>,
    /// What the pauses did to requests: of all together (without a name) and of each operation; empty without pauses.
    pub(crate) effects: Vec<Effect>,
}

/// A time in which no write to the disk completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// Seconds since the first request.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Longest flush of the probe in it.
    pub(crate) probe_ms: Option<f64>,
    pub(crate) device: Option<DeviceStall>,
    pub(crate) wal: Option<WalStall>,
}

/// The device completed no write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceStall {
    /// For at least so long.
    pub(crate) ms: f64,
    /// Writes that were outstanding, at most.
    pub(crate) outstanding: u64,
}

/// The write-ahead log was not flushed any further although a process waited for the disk to do it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WalStall {
    /// For at least so long.
    pub(crate) ms: f64,
    /// What PostgreSQL's processes waited for meanwhile, with their numbers.
    pub(crate) waits: String,
}

/// Flushes of a few bytes by the probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flushes {
    pub(crate) number: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// What a device did, by `/proc/diskstats`; of all programs of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceFigures {
    pub(crate) name: String,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) flushes: u64,
    pub(crate) mib_written: f64,
    /// Mean time of a write or flush.
    pub(crate) write_ms: f64,
    /// Share of the time in which something was outstanding.
    pub(crate) busy: f64,
}

/// An event that processes waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wait {
    /// Type and name, as `pg_stat_activity` has them.
    pub(crate) event: String,
    /// Processes that waited for it: mean of all samples, and most.
    pub(crate) mean: f64,
    pub(crate) most: u64,
}

/// The observers at work.
#[derive(Debug)]
pub(crate) struct Watch {
    directory: Option<String>,
    unknown: Vec<String>,
    probe: Option<Probe>,
    device: Option<Device>,
    sessions: Option<Sessions>,
    began: Instant,
}

impl Watch {
    /// Starts all that can be; what cannot is told by the report.
    pub(crate) fn start(data_directory: Option<&Path>, spare: &Path) -> Self {
        let mut unknown = Vec::new();
        let place = or_reason("probe and device", Place::find(data_directory, spare), &mut unknown);
        let probe = place.as_ref().and_then(|place| {
            let none = || anyhow::anyhow!("no directory of the log's file system can be written to");
            let folder = place.probe.as_ref().ok_or_else(none);
            or_reason("probe", folder.and_then(|folder| Ok(Probe::start(folder)?)), &mut unknown)
        });
        let device = place.as_ref().and_then(|place| or_reason("device", Device::start(place.device), &mut unknown));
        let sessions = or_reason("waits", Sessions::start(), &mut unknown);
        let directory = place.map(|place| place.directory.display().to_string());
        Self { directory, unknown, probe, device, sessions, began: Instant::now() }
    }

    /// Stops, and tells what was seen in seconds since the first request.
    pub(crate) fn stop(self, first: Instant) -> Disk {
        let elapsed = self.began.elapsed();
        let (waits, wal) = self.sessions.map(Sessions::stop).map(|(stalls, waits)| (waits, stalls)).unzip();
        let probed = self.probe.map(Probe::stop);
        let (figures, stalls) = self.device.map(|device| figures_of(device, elapsed)).unzip();
        let [stalls, wal] = [stalls, wal].map(Option::unwrap_or_default);
        let probe = probed.as_ref().map(|probed| Flushes::of(&probed.times));
        let (flushes, starved) = probed.map(|probed| (probed.stalls, probed.starved)).unwrap_or_default();
        Disk {
            directory: self.directory,
            unknown: self.unknown,
            probe,
            device: figures,
            waits,
            pauses: pauses(first, &flushes, &stalls, &certain(wal, &starved)),
            effects: Vec::new(),
        }
    }
}

/// What there is; else why there is not goes to the others.
fn or_reason<T>(what: &str, outcome: anyhow::Result<T>, unknown: &mut Vec<String>) -> Option<T> {
    outcome.map_err(|error| unknown.push(format!("{what}: {error:#}"))).ok()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn figures_of(device: Device, elapsed: Duration) -> (DeviceFigures, Vec<Stall>) {
    let name = device.name.clone();
    let (stalls, before, after) = device.stop();
    let rise = |of: fn(&Counters) -> u64| of(&after).saturating_sub(of(&before));
    let (writes, flushes) = (rise(|counters| counters.writes), rise(|counters| counters.flushes));
    let figures = DeviceFigures {
        name,
        reads: rise(|counters| counters.reads),
        writes,
        flushes,
        mib_written: rise(|counters| counters.written_bytes) as f64 / 1_048_576.0,
        write_ms: rise(|counters| counters.write_ms) as f64 / (writes + flushes).max(1) as f64,
        busy: (rise(|counters| counters.busy_ms) as f64 / 1e3 / elapsed.as_secs_f64()).min(1.0),
    };
    (figures, stalls)
}

impl Flushes {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |quantile| millis(times.value_at_quantile(quantile));
        let max_ms = millis(times.max());
        Self { number: times.len(), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), max_ms }
    }
}

impl Disk {
    /// Whether any of the observers was at work.
    pub(crate) const fn was_watched(&self) -> bool {
        self.probe.is_some() || self.device.is_some() || self.waits.is_some()
    }

    /// What the pauses did to an operation, or to all requests together.
    pub(crate) fn effect(&self, operation: Option<&str>) -> Option<&Effect> {
        self.effects.iter().find(|effect| effect.operation.as_deref() == operation)
    }
}

impl Pause {
    /// How long it took.
    pub(crate) const fn seconds(&self) -> f64 {
        self.to - self.from
    }
}

/// Stalls of PostgreSQL without those that a full machine explains: a process whose flush has returned still waits for it, as far as others
/// see, until it gets a processor. What the probe waited for one at the time is taken off.
fn certain(wal: Vec<Stall>, starved: &[Starved]) -> Vec<Stall> {
    let longest = |stall: &Stall| {
        let meanwhile = starved.iter().filter(|starved| starved.from < stall.to && stall.from < starved.to);
        meanwhile.map(|starved| starved.waited).max().unwrap_or_default()
    };
    let certain = |stall: &Stall| stall.to.duration_since(stall.from).saturating_sub(longest(stall)) >= PAUSE;
    wal.into_iter().filter(certain).collect()
}

/// Puts together what the observers saw: stalls that overlap are one pause.
fn pauses(first: Instant, probe: &[Stall], device: &[Stall], wal: &[Stall]) -> Vec<Pause> {
    let mut all: Vec<Pause> = Vec::new();
    let ms = |stall: &Stall| stall.to.duration_since(stall.from).as_secs_f64() * 1e3;
    let pause = |stall: &Stall| {
        let (from, to) = (since(first, stall.from), since(first, stall.to));
        Pause { from, to, probe_ms: None, device: None, wal: None }
    };
    all.extend(probe.iter().map(|stall| Pause { probe_ms: Some(ms(stall)), ..pause(stall) }));
    all.extend(device.iter().map(|stall| {
        let device = DeviceStall { ms: ms(stall), outstanding: stall.outstanding };
        Pause { device: Some(device), ..pause(stall) }
    }));
    all.extend(wal.iter().map(|stall| {
        let wal = WalStall { ms: ms(stall), waits: stall.detail.clone() };
        Pause { wal: Some(wal), ..pause(stall) }
    }));
    all.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut merged: Vec<Pause> = Vec::new();
    for pause in all {
        match merged.last_mut().filter(|last| pause.from <= last.to) {
            Some(last) => last.join(pause),
            None => merged.push(pause),
        }
    }
    merged
}

impl Pause {
    /// Takes in what another observer, or the same one once more, saw of this pause.
    fn join(&mut self, other: Self) {
        self.to = self.to.max(other.to);
        self.probe_ms = longer(self.probe_ms.take(), other.probe_ms, |ms| *ms);
        self.device = longer(self.device.take(), other.device, |stall| stall.ms);
        self.wal = longer(self.wal.take(), other.wal, |stall| stall.ms);
    }
}

fn longer<T>(one: Option<T>, other: Option<T>, ms: fn(&T) -> f64) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if ms(&other) > ms(&one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Seconds from the first request to this moment, which may be before it.
fn since(first: Instant, at: Instant) -> f64 {
    match at.checked_duration_since(first) {
        Some(after) => after.as_secs_f64(),
        None => -first.duration_since(at).as_secs_f64(),
    }
}
