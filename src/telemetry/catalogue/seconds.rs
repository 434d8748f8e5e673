//! Counters of seconds. Those of the recorder count whole things; a share of a second is a thing here, so they are kept and
//! rendered beside it.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::metric::{Described, Kind, Labels, Metric, combination};

/// A counter of seconds, exact to the microsecond.
#[derive(Debug)]
pub struct Seconds<L> {
    metric: Metric,
    micros: OnceLock<Vec<AtomicU64>>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Seconds<L> {
    pub(super) const KIND: Kind = Kind::Counter;

    pub(super) const fn new(metric: Metric) -> Self {
        Self { metric, micros: OnceLock::new(), labels: PhantomData }
    }

    fn slots(&self) -> &[AtomicU64] {
        self.micros.get_or_init(|| (0..self.metric.combinations()).map(|_| AtomicU64::new(0)).collect())
    }

    /// So much more.
    pub fn add(&self, labels: L, time: Duration) {
        if let Some(slot) = self.slots().get(labels.index()) {
            slot.fetch_add(micros(time), Ordering::Relaxed);
        }
    }

    /// So much in all: the figure of somebody else who only counts upwards.
    pub fn absolute(&self, labels: L, time: Duration) {
        if let Some(slot) = self.slots().get(labels.index()) {
            slot.fetch_max(micros(time), Ordering::Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl<L: Labels> Described for Seconds<L> {
    fn metric(&self) -> &Metric {
        &self.metric
    }

    fn initialise(&self) {
        self.slots();
    }

    /// By the text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>); values of labels are words of the
    /// catalogue and need no escaping.
    fn render(&self, text: &mut String) {
        let Metric { name, help, .. } = self.metric;
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} counter", help.trim());
        for (index, slot) in self.slots().iter().enumerate() {
            let labels: Vec<String> = combination(&self.metric, index)
                .into_iter()
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let seconds = Duration::from_micros(slot.load(Ordering::Relaxed)).as_secs_f64();
            let _ = writeln!(text, "{name}{labels} {seconds}");
        }
        text.push('\n');
    }
}
