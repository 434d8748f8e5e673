//! What a metric is. Handles are registered once and found by the labels' indices, so that the hot path neither
//! allocates nor looks anything up by name.

use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{Key, KeyName, Level, Metadata, Recorder};

use super::routes;

static METADATA: Metadata<'static> = Metadata::new("dgm", Level::INFO, None);

/// A number as a sample holds it: exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub fn figure(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

/// Whole seconds since 1970, as a metric value.
#[must_use]
pub fn unix_seconds(at: DateTime<Utc>) -> f64 {
    figure(at.timestamp())
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

/// A metric's description.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name of its static, by which sources name it.
    pub ident: &'static str,
    /// The name on the wire.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The unit, in words.
    pub unit: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Upper edges, for histograms.
    pub buckets: &'static [f64],
    /// Names and values of the labels.
    pub labels: fn() -> Vec<(&'static str, Vec<&'static str>)>,
}

impl Metric {
    /// How many series it has at most.
    pub(super) fn combinations(&self) -> usize {
        (self.labels)().iter().map(|(_, values)| values.len()).product()
    }
}

/// A label with a closed set of values.
pub trait Label: Copy {
    /// Its name.
    const NAME: &'static str;
    /// Its values, in the order of [`Label::index`].
    fn values() -> Vec<&'static str>;
    /// How many values there are.
    fn count() -> usize;
    /// The place of this value.
    fn index(self) -> usize;
}

/// A metric's labels together.
pub trait Labels: Copy {
    /// Names and values.
    fn names() -> Vec<(&'static str, Vec<&'static str>)>;
    /// The place of this combination among all.
    fn index(self) -> usize;
}

impl Labels for () {
    fn names() -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }
    fn index(self) -> usize {
        0
    }
}

impl<A: Label> Labels for (A,) {
    fn names() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(A::NAME, A::values())]
    }
    fn index(self) -> usize {
        self.0.index()
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn names() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(A::NAME, A::values()), (B::NAME, B::values())]
    }
    fn index(self) -> usize {
        self.0.index() * B::count() + self.1.index()
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn names() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(A::NAME, A::values()), (B::NAME, B::values()), (C::NAME, C::values())]
    }
    fn index(self) -> usize {
        (self.0.index() * B::count() + self.1.index()) * C::count() + self.2.index()
    }
}

/// Handles of one metric, each made when it is first used.
///
/// A handle that is made before the recorder is installed stays silent for ever; the recorder is therefore the first
/// thing that a serving process makes, and other processes have none.
#[derive(Debug)]
struct Handles<H> {
    slots: OnceLock<Vec<OnceLock<H>>>,
}

impl<H> Handles<H> {
    const fn new() -> Self {
        Self { slots: OnceLock::new() }
    }

    fn with(
        &self,
        metric: &Metric,
        index: usize,
        register: impl Fn(&dyn Recorder, &Key) -> H,
        use_it: impl FnOnce(&H),
    ) {
        let slots = self.slots.get_or_init(|| (0..metric.combinations()).map(|_| OnceLock::new()).collect());
        if let Some(slot) = slots.get(index) {
            use_it(slot.get_or_init(|| metrics::with_recorder(|recorder| register(recorder, &key(metric, index)))));
        }
    }
}

/// The name and labels of a combination.
fn key(metric: &Metric, index: usize) -> Key {
    let labels =
        combination(metric, index).into_iter().map(|(name, value)| metrics::Label::from_static_parts(name, value));
    Key::from_parts(KeyName::from_const_str(metric.name), labels.collect::<Vec<_>>())
}

pub(super) fn combination(metric: &Metric, mut index: usize) -> Vec<(&'static str, &'static str)> {
    let mut labels = (metric.labels)();
    labels.reverse();
    let mut chosen: Vec<_> = labels
        .into_iter()
        .filter_map(|(name, values)| {
            let value = *values.get(index.checked_rem(values.len())?)?;
            index /= values.len();
            Some((name, value))
        })
        .collect();
    chosen.reverse();
    chosen
}

/// What the catalogue asks of every metric.
pub trait Described {
    /// The description.
    fn metric(&self) -> &Metric;
    /// Describes it to the recorder; a counter starts at 0 for every combination of labels that can occur.
    fn initialise(&self);
    /// Adds it to an exposition, if the recorder does not know it.
    fn render(&self, _text: &mut String) {}
}

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $handle:ty, $register:ident, $describe:ident) => {
        $(#[$doc])* #[derive(Debug)]
        pub struct $name<L> {
            metric: Metric,
            handles: Handles<$handle>,
            labels: PhantomData<fn(L)>,
        }

        impl<L: Labels> $name<L> {
            pub(super) const KIND: Kind = Kind::$name;

            pub(super) const fn new(metric: Metric) -> Self {
                Self { metric, handles: Handles::new(), labels: PhantomData }
            }

            fn with(&self, labels: L, use_it: impl FnOnce(&$handle)) {
                self.at(labels.index(), use_it);
            }

            fn at(&self, index: usize, use_it: impl FnOnce(&$handle)) {
                self.handles.with(&self.metric, index, |recorder, key| recorder.$register(key, &METADATA), use_it);
            }

            fn describe(&self) {
                metrics::with_recorder(|recorder| {
                    recorder.$describe(KeyName::from_const_str(self.metric.name), None, self.metric.help.trim().into());
                });
            }
        }
    };
}

kind!(
    /// Only rises.
    Counter, metrics::Counter, register_counter, describe_counter
);
kind!(
    /// Rises and falls.
    Gauge, metrics::Gauge, register_gauge, describe_gauge
);
kind!(
    /// A distribution in buckets.
    Histogram, metrics::Histogram, register_histogram, describe_histogram
);

impl<L: Labels> Counter<L> {
    /// One more.
    pub fn increment(&self, labels: L) {
        self.add(labels, 1);
    }

    /// `n` more.
    pub fn add(&self, labels: L, n: u64) {
        self.with(labels, |counter| counter.increment(n));
    }
}

impl<L: Labels> Gauge<L> {
    /// Is `value` now.
    pub fn set(&self, labels: L, value: f64) {
        self.with(labels, |gauge| gauge.set(value));
    }

    /// Changes by `delta`.
    pub fn add(&self, labels: L, delta: f64) {
        self.with(labels, |gauge| gauge.increment(delta));
    }
}

impl<L: Labels> Histogram<L> {
    /// A duration, in seconds.
    pub fn observe(&self, labels: L, duration: Duration) {
        self.record(labels, duration.as_secs_f64());
    }

    /// A figure in the metric's unit.
    pub fn record(&self, labels: L, value: f64) {
        self.with(labels, |histogram| histogram.record(value));
    }
}

impl<L: Labels> Described for Counter<L> {
    fn metric(&self) -> &Metric {
        &self.metric
    }

    fn initialise(&self) {
        self.describe();
        let can_occur = |index: &usize| routes::can_occur(&combination(&self.metric, *index));
        for index in (0..self.metric.combinations()).filter(can_occur) {
            self.at(index, |counter| counter.increment(0));
        }
    }
}

impl<L: Labels> Described for Gauge<L> {
    fn metric(&self) -> &Metric {
        &self.metric
    }

    fn initialise(&self) {
        self.describe();
    }
}

impl<L: Labels> Described for Histogram<L> {
    fn metric(&self) -> &Metric {
        &self.metric
    }

    fn initialise(&self) {
        self.describe();
    }
}
