//! What the loader counted, and how it is written.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What wrk counted. Percentiles are corrected for coordinated omission, as wrk does it: a slow answer counts also for
/// the requests that it held up.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    microseconds: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    /// Claims that found nothing to do.
    missed: u64,
}

impl Figures {
    /// Answers of status 400 and above, faults of connections, answers later than 2 s, claims of nothing.
    pub(crate) const fn errors(&self) -> u64 {
        self.connect + self.read + self.write + self.status + self.timeout + self.missed
    }

    /// The errors by kind, for who looks for their cause.
    pub(crate) fn kinds(&self) -> String {
        let Self { connect, read, write, status, timeout, missed, .. } = self;
        let kinds = [connect, read, write, status, timeout, missed];
        let names = ["connect", "read", "write", "status", "timeout", "missed"];
        names.iter().zip(kinds).filter(|(_, count)| **count > 0).fold(String::new(), |mut text, (name, count)| {
            let _ = write!(text, " {name} {count}");
            text
        })
    }

    /// How long the run took.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn seconds(&self) -> f64 {
        self.microseconds as f64 / 1e6
    }

    /// Requests a second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds()
    }

    /// The figures with which a run of wrk ends; see wrk/figures.lua.
    ///
    /// # Errors
    /// When it does not: no figures are not zeros.
    pub(crate) fn parse(output: &str) -> Result<Self> {
        let line = output.lines().next_back().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("wrk did not end with figures: {output}"))
    }
}

/// A rate with a comma before every third digit.
pub(crate) fn thousands(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let grouped = digits.char_indices().flat_map(|(at, digit)| {
        let comma = (at > 0 && (digits.len() - at).is_multiple_of(3)).then_some(',');
        comma.into_iter().chain(std::iter::once(digit))
    });
    grouped.collect()
}

/// Milliseconds.
pub(crate) fn millis(us: u64) -> String {
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}
