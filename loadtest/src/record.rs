//! What the callers saw: times by role and operation, and what happened in every second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::{Counter, Histogram};

use crate::caller::{Answer, Failure};
use crate::operation::Operation;
use crate::profile::Role;

/// Significant decimal digits of the recorded times: percentiles are off by at most 1 %.
const DIGITS: u8 = 2;
/// Parts that callers are spread over, so that they do not wait for each other.
const PARTS: usize = 4;
/// Seconds of a run that are kept one by one: a day.
const SECONDS: usize = 86_400;
/// Requests that are kept one by one, in each part: 60 million in all, 12 bytes each.
const NOTES: usize = 15_000_000;
/// Of them in one piece, so that no caller waits while millions are moved.
const PIECE: usize = 65_536;

/// An empty histogram of times in microseconds, which grows with what is recorded.
#[expect(clippy::expect_used, reason = "fails for more than five digits only")]
pub(crate) fn times<C: Counter>() -> Histogram<C> {
    Histogram::new(DIGITS).expect("a number of digits that the histogram takes")
}

/// What became of some requests.
#[derive(Debug, Clone)]
pub(crate) struct Tally<C: Counter> {
    /// Of those that succeeded: how long a failure took is no latency.
    pub(crate) times: Histogram<C>,
    pub(crate) shed: u64,
    pub(crate) failed: u64,
}

/// An operation as the callers of a role saw it.
pub(crate) type Cell = Tally<u64>;
/// One second of the run, in half the memory.
pub(crate) type Second = Tally<u32>;

impl<C: Counter> Default for Tally<C> {
    fn default() -> Self {
        Self { times: times(), shed: 0, failed: 0 }
    }
}

impl<C: Counter> Tally<C> {
    /// Requests that succeeded.
    pub(crate) fn succeeded(&self) -> u64 {
        self.times.len()
    }

    /// All of them.
    pub(crate) fn sent(&self) -> u64 {
        self.succeeded() + self.shed + self.failed
    }

    /// Takes in those of another one. Histograms grow, so that no time is out of range.
    pub(crate) fn add(&mut self, other: &Self) {
        let _ = self.times.add(&other.times);
        self.shed += other.shed;
        self.failed += other.failed;
    }

    fn note(&mut self, took: Duration, failure: Option<&Failure>) {
        match failure {
            None => {
                let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
                let _ = self.times.record(took);
            }
            Some(Failure::Shed(_)) => self.shed += 1,
            Some(_) => self.failed += 1,
        }
    }
}

/// A request that succeeded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    /// When it ended, in tenths of milliseconds of the run: enough for four days.
    end: u32,
    /// How long it took, in microseconds.
    took: u32,
    role: Role,
    operation: u8,
}

impl Note {
    pub(crate) fn operation(&self) -> Operation {
        Operation::ALL[usize::from(self.operation)]
    }

    pub(crate) fn millis(&self) -> f64 {
        f64::from(self.took) / 1e3
    }

    /// From and to, in seconds of the run.
    pub(crate) fn seconds(&self) -> (f64, f64) {
        let to = f64::from(self.end) / 1e4;
        (to - f64::from(self.took) / 1e6, to)
    }
}

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// In pieces.
    notes: Vec<Vec<Note>>,
    pub(crate) cells: BTreeMap<(Role, usize), Cell>,
    /// From the first request on.
    pub(crate) seconds: Vec<Second>,
    /// Failures by operation and kind.
    pub(crate) failures: BTreeMap<(&'static str, String), u64>,
}

impl Record {
    fn note(&mut self, role: Role, operation: Operation, at: Duration, took: Duration, failure: Option<&Failure>) {
        self.cells.entry((role, operation as usize)).or_default().note(took, failure);
        let at = usize::try_from(at.as_secs()).unwrap_or(SECONDS).min(SECONDS - 1);
        if self.seconds.len() <= at {
            self.seconds.resize_with(at + 1, Second::default);
        }
        self.seconds[at].note(took, failure);
        if let Some(failure) = failure {
            *self.failures.entry((operation.name(), failure.kind())).or_default() += 1;
        }
    }

    /// Keeps a request that succeeded by itself.
    fn keep(&mut self, role: Role, operation: Operation, at: Duration, took: Duration) {
        if self.notes.len() * PIECE > NOTES {
            return;
        }
        if self.notes.last().is_none_or(|piece| piece.len() == PIECE) {
            self.notes.push(Vec::with_capacity(PIECE));
        }
        let end = u32::try_from(at.as_micros() / 100).unwrap_or(u32::MAX);
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let note = Note { end, took, role, operation: operation as u8 };
        if let Some(piece) = self.notes.last_mut() {
            piece.push(note);
        }
    }

    /// The requests that succeeded, one by one; of a run with tens of millions those of its beginning.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().flatten()
    }

    /// Counts a request that another record kept.
    pub(crate) fn count(&mut self, note: &Note) {
        let cell = self.cells.entry((note.role, usize::from(note.operation))).or_default();
        let _ = cell.times.record(u64::from(note.took).max(1));
    }

    fn add(&mut self, other: &Self) {
        for (&key, cell) in &other.cells {
            self.cells.entry(key).or_default().add(cell);
        }
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize_with(other.seconds.len(), Second::default);
        }
        self.seconds.iter_mut().zip(&other.seconds).for_each(|(mine, theirs)| mine.add(theirs));
        for (key, count) in &other.failures {
            *self.failures.entry(key.clone()).or_default() += count;
        }
        self.notes.extend_from_slice(&other.notes);
    }
}

/// Records while callers call.
#[derive(Debug)]
pub(crate) struct Recorder {
    began: OnceLock<Instant>,
    /// Requests that succeeded, and those that did not: for whoever watches.
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    parts: [Mutex<Record>; PARTS],
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            began: OnceLock::new(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            parts: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Recorder {
    /// When the first request was sent; the first call of this decides.
    pub(crate) fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// Records how an operation went that a caller meant to send at `intended`; answers it as it is.
    pub(crate) fn note(
        &self,
        (number, role): (usize, Role),
        operation: Operation,
        intended: Instant,
        outcome: Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        let (began, now) = (self.began(), Instant::now());
        let (at, took) = (now.saturating_duration_since(began), now.saturating_duration_since(intended));
        let count = if outcome.is_ok() { &self.succeeded } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        let mut part = lock(&self.parts[number % PARTS]);
        part.note(role, operation, at, took, outcome.as_ref().err());
        if outcome.is_ok() {
            part.keep(role, operation, at, took);
        }
        drop(part);
        outcome
    }

    /// What was recorded up to now.
    pub(crate) fn record(&self) -> Record {
        let mut record = Record::default();
        self.parts.iter().for_each(|part| record.add(&lock(part)));
        record
    }
}

/// Whoever panicked while it held the lock had noted or not noted: either is a whole record.
fn lock(part: &Mutex<Record>) -> MutexGuard<'_, Record> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_saw_is_added_up() {
        let recorder = Recorder::default();
        let began = recorder.began();
        let answer = || Ok(Answer { etag: None, body: Vec::new() });
        for number in 0..20 {
            let _ = recorder.note((number, Role::Author), Operation::ReadEntry, began, answer());
        }
        let shed = Err(Failure::Shed(Duration::from_secs(1)));
        let _ = recorder.note((3, Role::Author), Operation::ReadEntry, began, shed);
        let _ = recorder.note((4, Role::Worker), Operation::Claim, began, Err(Failure::Status(500)));
        let record = recorder.record();
        let read = &record.cells[&(Role::Author, Operation::ReadEntry as usize)];
        assert_eq!((read.succeeded(), read.shed, read.failed, read.times.len()), (20, 1, 0, 20));
        let claim = &record.cells[&(Role::Worker, Operation::Claim as usize)];
        assert_eq!(
            (claim.succeeded(), claim.failed, claim.times.len()),
            (0, 1, 0),
            "the time of a failure is no latency"
        );
        let all: (u64, u64, u64) = record
            .seconds
            .iter()
            .fold((0, 0, 0), |sum, second| (sum.0 + second.succeeded(), sum.1 + second.shed, sum.2 + second.failed));
        assert_eq!(all, (20, 1, 1));
        assert_eq!(record.failures[&(Operation::Claim.name(), "status 500".to_owned())], 1);
    }
}
