//! Figures of the report, from what was recorded.

use std::time::Duration;

use super::{Bare, Lap, Open, PhaseFigures, Waits};
use crate::disk::{Disk, effects};
use crate::figures::{figures, millis};
use crate::profile::OpenLoop;
use crate::record::{Record, Second};

/// Throughput and p95 of a phase `(users, from, to)`.
pub(crate) fn phase(record: &Record, (users, from, to): (usize, usize, usize)) -> PhaseFigures {
    let seconds = record.seconds.get(from..to.min(record.seconds.len())).unwrap_or_default();
    let mut all = Second::default();
    for second in seconds {
        all.add(second);
    }
    PhaseFigures {
        users,
        from,
        to,
        requests_per_second: per(all.succeeded(), to.saturating_sub(from)),
        p95_ms: millis(all.times.value_at_quantile(0.95)),
    }
}

/// The rate of all phases together, each as long as it was planned: one that broke off early has lost.
pub(crate) fn rate_of(phases: &[PhaseFigures]) -> f64 {
    let seconds: usize = phases.iter().map(|phase| phase.to - phase.from).sum();
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    let succeeded: f64 = phases.iter().map(|phase| phase.requests_per_second * (phase.to - phase.from) as f64).sum();
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    let rate = if seconds > 0 { succeeded / seconds as f64 } else { 0.0 };
    rate
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn per(count: u64, seconds: usize) -> f64 {
    if seconds > 0 { count as f64 / seconds as f64 } else { 0.0 }
}

/// What came of the open loop.
pub(crate) fn open(record: &Record, elapsed: Duration, open: OpenLoop, (waits, mut disk): (Waits, Disk)) -> Open {
    let (all, _) = figures(record, None);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let reached = all.succeeded as f64 / elapsed.as_secs_f64();
    disk.effects = effects(record, None, &disk.pauses);
    Open { rate: open.rate, reached, seconds: open.seconds, figures: all, waits, disk }
}

/// What came of the laps of the bare handler; `None` when there were none.
#[expect(clippy::cast_precision_loss, reason = "two laps")]
pub(crate) fn bare(laps: Vec<Lap>, rate: f64) -> Option<Bare> {
    let mean = laps.iter().map(|lap| lap.requests_per_second).sum::<f64>() / laps.len() as f64;
    (mean > 0.0).then(|| Bare { laps, requests_per_second: mean, ratio: rate / mean })
}
