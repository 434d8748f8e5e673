//! Stalls: intervals in which something was outstanding and nothing completed.

use std::time::{Duration, Instant};

/// The shortest stall that is a pause: p95 of a request may take as long.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// What was seen at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<P> {
    /// Before and after it was read, which is when it was true.
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// Changes whenever something completes.
    pub(super) progress: P,
    /// How much is outstanding.
    pub(super) outstanding: u64,
    /// What to say about it.
    pub(super) detail: String,
}

/// A pause as one observer saw it: at least this long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stall {
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// Most that was outstanding, and what was said of that sample.
    pub(super) outstanding: u64,
    pub(super) detail: String,
}

/// Finds stalls in samples that come one by one.
///
/// In each sample progress is read first. So what is outstanding in one sample has not completed by a later one whose progress is
/// the same, however late that is: late or rare samples make no stall. Its ends are uncertain, and it is taken to be as short as it can
/// have been.
#[derive(Debug)]
pub(super) struct Detector<P> {
    /// Of the samples with the progress of the last one: the first in which something was outstanding.
    current: Option<(P, Stall)>,
    found: Vec<Stall>,
}

impl<P> Default for Detector<P> {
    fn default() -> Self {
        Self { current: None, found: Vec::new() }
    }
}

impl<P: PartialEq> Detector<P> {
    pub(super) fn add(&mut self, sample: Sample<P>) {
        let Sample { asked, answered, progress, outstanding, detail } = sample;
        if let Some((last, stall)) = &mut self.current
            && *last == progress
            && outstanding > 0
        {
            stall.to = stall.to.max(asked);
            if outstanding > stall.outstanding {
                (stall.outstanding, stall.detail) = (outstanding, detail);
            }
            return;
        }
        self.end();
        if outstanding > 0 {
            self.current = Some((progress, Stall { from: answered, to: answered, outstanding, detail }));
        }
    }

    fn end(&mut self) {
        let ended = self.current.take().map(|(_, stall)| stall);
        self.found.extend(ended.filter(|stall| stall.to.duration_since(stall.from) >= PAUSE));
    }

    /// All that were found; one that lasts is as long as it is by now.
    pub(super) fn finish(mut self) -> Vec<Stall> {
        self.end();
        self.found
    }
}
