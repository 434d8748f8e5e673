//! Series of this process over the last seconds: values, rates, and quantiles from classic buckets.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A sample older than this says nothing about now.
const KEEP: Duration = Duration::from_mins(5);

/// Names and values of a series' labels.
#[derive(Debug, Default)]
pub(super) struct Labels(Vec<(String, String)>);

impl Labels {
    /// The value of a label; empty when the series does not have it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

/// One scrape; the value of a series is at its number, NaN when the scrape lacks it.
#[derive(Debug)]
struct Sample {
    at: Instant,
    values: Vec<f64>,
}

/// Scrapes of one process, at most as many as a window holds.
#[derive(Debug)]
pub(super) struct History {
    window: Duration,
    numbers: HashMap<String, usize>,
    labels: Vec<Labels>,
    families: HashMap<String, Vec<usize>>,
    samples: VecDeque<Sample>,
}

impl History {
    /// Of windows that are at most so long.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, numbers: HashMap::new(), labels: Vec::new(), families: HashMap::new(), samples: VecDeque::new() }
    }

    /// Adds a scrape in the text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>), as the recorder renders
    /// it: without timestamps, and with label values from closed sets, which need no escapes. A library would allocate every
    /// series for every scrape; here a series that is known costs one lookup.
    pub(super) fn add(&mut self, text: &str, at: Instant) {
        let mut values = vec![f64::NAN; self.labels.len()];
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, Ok(value))) = line.rsplit_once(' ').map(|(series, value)| (series, value.parse())) else {
                continue;
            };
            let number = self.number(series);
            values.resize(values.len().max(number + 1), f64::NAN);
            values[number] = value;
        }
        self.samples.push_back(Sample { at, values });
        while self.samples.front().is_some_and(|first| {
            let age = at - first.at;
            age > KEEP || age > self.window && self.samples.len() > 2
        }) {
            self.samples.pop_front();
        }
    }

    fn number(&mut self, series: &str) -> usize {
        if let Some(number) = self.numbers.get(series) {
            return *number;
        }
        let (name, labels) = identity(series);
        let number = self.labels.len();
        self.labels.push(labels);
        self.families.entry(name.to_owned()).or_default().push(number);
        self.numbers.insert(series.to_owned(), number);
        number
    }

    /// How many scrapes there are.
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// When the latest was.
    pub(super) fn latest(&self) -> Option<Instant> {
        self.samples.back().map(|sample| sample.at)
    }

    fn family(&self, name: &str) -> impl Iterator<Item = (usize, &Labels)> {
        self.families.get(name).into_iter().flatten().map(|number| (*number, &self.labels[*number]))
    }

    /// The latest values of a metric.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let latest = self.samples.back();
        self.family(name).filter_map(move |(number, labels)| {
            let value = *latest?.values.get(number)?;
            (!value.is_nan()).then_some((labels, value))
        })
    }

    /// The sum of those that fit; none when there are none.
    pub(super) fn sum(&self, name: &str, fits: impl Fn(&Labels) -> bool) -> Option<f64> {
        self.values(name).filter(|(labels, _)| fits(labels)).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// The value of a metric over all its series.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.sum(name, |_| true)
    }

    /// The first and the last scrape of a window: the oldest in it, or else the one before the latest.
    fn ends(&self, window: Duration) -> Option<(&Sample, &Sample)> {
        let (latest, older) = (self.samples.back()?, self.samples.len() - 1);
        let mut older = self.samples.iter().take(older);
        let first = older.find(|sample| latest.at - sample.at <= window);
        Some((first.or_else(|| self.samples.iter().rev().nth(1))?, latest))
    }

    /// How many seconds a window covers; none before the second scrape.
    pub(super) fn seconds(&self, window: Duration) -> Option<f64> {
        self.ends(window).map(|(first, latest)| (latest.at - first.at).as_secs_f64())
    }

    /// By how much series rose in a window, added up by a key of their labels; series without a key do not count. None before
    /// the second scrape.
    pub(super) fn rises<'a, K: Ord>(
        &'a self,
        name: &str,
        window: Duration,
        key: impl Fn(&'a Labels) -> Option<K>,
    ) -> Option<BTreeMap<K, f64>> {
        let (first, latest) = self.ends(window)?;
        // A series that was not there began at 0.
        let value = |sample: &Sample, number: usize| match sample.values.get(number) {
            Some(value) if !value.is_nan() => *value,
            _ => 0.0,
        };
        let mut sums = BTreeMap::new();
        for (number, labels) in self.family(name) {
            if let Some(key) = key(labels) {
                *sums.entry(key).or_insert(0.0) += value(latest, number) - value(first, number);
            }
        }
        Some(sums)
    }

    /// The same of all that fit together; none also when there are none.
    pub(super) fn rise(&self, name: &str, window: Duration, fits: impl Fn(&Labels) -> bool) -> Option<f64> {
        self.rises(name, window, |labels| fits(labels).then_some(()))?.remove(&())
    }

    /// The same per second.
    pub(super) fn rate(&self, name: &str, window: Duration, fits: impl Fn(&Labels) -> bool) -> Option<f64> {
        Some(self.rise(name, window, fits)? / self.seconds(window)?)
    }

    /// What a histogram took in during a window, by a key of its labels.
    pub(super) fn histograms<'a, K: Ord>(
        &'a self,
        name: &str,
        window: Duration,
        key: impl Fn(&'a Labels) -> Option<K>,
    ) -> BTreeMap<K, Histogram> {
        let mut found: BTreeMap<K, Histogram> = BTreeMap::new();
        let edge = |labels: &'a Labels| Some((key(labels)?, labels.get("le")));
        for ((key, edge), rise) in self.rises(&format!("{name}_bucket"), window, edge).unwrap_or_default() {
            if let Ok(edge) = edge.parse() {
                found.entry(key).or_default().counts.push((edge, rise));
            }
        }
        for (key, rise) in self.rises(&format!("{name}_sum"), window, &key).unwrap_or_default() {
            found.entry(key).or_default().sum = rise;
        }
        for histogram in found.values_mut() {
            histogram.counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        found
    }

    /// The same of all that fit together.
    pub(super) fn histogram(&self, name: &str, window: Duration, fits: impl Fn(&Labels) -> bool) -> Histogram {
        self.histograms(name, window, |labels| fits(labels).then_some(())).remove(&()).unwrap_or_default()
    }
}

/// What a histogram took in.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Counts up to each edge, the last of which is infinite.
    counts: Vec<(f64, f64)>,
    pub(super) sum: f64,
}

impl Histogram {
    pub(super) fn count(&self) -> f64 {
        self.counts.last().map_or(0.0, |(_, count)| *count)
    }

    /// The value below which a share lies, interpolated as `PromQL` does: above the last finite edge it is that edge.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let rank = share * self.count();
        if rank <= 0.0 {
            return None;
        }
        let place = self.counts.iter().position(|(_, count)| *count >= rank)?;
        let (upper, count) = self.counts[place];
        let (lower, before) = place.checked_sub(1).map_or((0.0, 0.0), |before| self.counts[before]);
        Some(if upper.is_finite() { lower + (upper - lower) * (rank - before) / (count - before) } else { lower })
    }
}

/// Name and labels of `name{a="b",c="d"}`.
fn identity(series: &str) -> (&str, Labels) {
    let Some((name, rest)) = series.split_once('{') else { return (series, Labels::default()) };
    let pairs = rest.strip_suffix("\"}").unwrap_or_default().split("\",").filter_map(|pair| pair.split_once("=\""));
    (name, Labels(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn all(_: &Labels) -> bool {
        true
    }

    fn history(scrapes: &[(u64, &str)]) -> History {
        let (mut history, start) = (History::new(WINDOW), Instant::now());
        for (at, text) in scrapes {
            history.add(text, start + Duration::from_secs(*at));
        }
        history
    }

    #[test]
    fn names_and_labels() {
        let (name, labels) = identity(r#"m{route="/a/{id}/b, c",le="+Inf"}"#);
        assert_eq!((name, labels.get("route"), labels.get("le")), ("m", "/a/{id}/b, c", "+Inf"));
        assert_eq!((identity("m").0, identity("m").1.get("le")), ("m", ""));
    }

    #[test]
    fn values_rates_and_quantiles() {
        let buckets =
            |small, all| format!("t_bucket{{le=\"0.1\"}} {small}\nt_bucket{{le=\"+Inf\"}} {all}\nt_sum {all}\n");
        let first = format!("# TYPE a_total counter\na_total{{x=\"1\"}} 5\ng NaN\nh -Inf\n\n{}", buckets(0, 0));
        let one = history(&[(0, &first)]);
        assert_eq!((one.value("g"), one.value("a_total"), one.value("h")), (None, Some(5.0), Some(f64::NEG_INFINITY)));
        assert_eq!((one.rate("a_total", WINDOW, all), one.seconds(WINDOW)), (None, None));
        assert_eq!(one.histogram("t", WINDOW, all).quantile(0.5), None);

        let second = format!("a_total{{x=\"1\"}} 9\na_total{{x=\"2\"}} 6\ng +Inf\n{}", buckets(8, 10));
        let two = history(&[(0, &first), (2, &second)]);
        assert_eq!((two.value("g"), two.value("h"), two.value("missing")), (Some(f64::INFINITY), None, None));
        // The second series was not there at first.
        assert_eq!(two.rate("a_total", WINDOW, all), Some(5.0));
        assert_eq!(two.rise("a_total", WINDOW, |labels| labels.get("x") == "1"), Some(4.0));
        assert_eq!((two.rate("missing", WINDOW, all), two.rise("missing", WINDOW, all)), (None, None));
        let by_x = two.rises("a_total", WINDOW, |labels| Some(labels.get("x"))).unwrap();
        assert_eq!(by_x.into_iter().collect::<Vec<_>>(), [("1", 4.0), ("2", 6.0)]);
        let t = two.histogram("t", WINDOW, all);
        assert_eq!((t.count(), t.sum, t.quantile(0.5), t.quantile(0.9)), (10.0, 10.0, Some(0.0625), Some(0.1)));
        assert_eq!(history(&[(0, &first), (2, &first)]).histogram("t", WINDOW, all).quantile(0.95), None);
    }

    #[test]
    fn a_window_begins_with_its_oldest_scrape_or_the_one_before_the_latest() {
        let scrapes: Vec<(u64, String)> = (0..50).map(|n| (2 * n, format!("a_total {}", n * n))).collect();
        let scrapes: Vec<(u64, &str)> = scrapes.iter().map(|(at, text)| (*at, text.as_str())).collect();
        let many = history(&scrapes);
        assert_eq!(
            (many.len(), many.seconds(WINDOW), many.seconds(Duration::from_secs(10))),
            (16, Some(30.0), Some(10.0))
        );
        assert_eq!(many.rise("a_total", Duration::ZERO, all), Some(f64::from(49 * 49 - 48 * 48)));
        let pause = history(&[(0, "a_total 1"), (100, "a_total 3")]);
        assert_eq!((pause.len(), pause.rate("a_total", WINDOW, all)), (2, Some(0.02)));
        let long = history(&[(0, "a_total 1"), (400, "a_total 3")]);
        assert_eq!((long.len(), long.rate("a_total", WINDOW, all)), (1, None));
    }
}
