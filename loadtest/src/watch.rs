//! The service as it tells of itself: `/metrics`, looked at while the load runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use prometheus_parse::{Sample, Scrape, Value};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what the service reads from the database itself may need to be told.
const TOLD: Duration = Duration::from_secs(45);
/// The job that reads it, and the metric that says when it last did.
const COLLECTED: (&str, &str) = ("dgm_job_last_success_timestamp_seconds", "collect-health");

/// One exposition.
#[derive(Debug, Clone)]
pub(crate) struct Exposition {
    samples: Vec<Sample>,
    /// Series: lines that are no comments.
    pub(crate) series: usize,
}

impl Exposition {
    fn parse(text: &str) -> Result<Self> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).context("/metrics cannot be read")?;
        let series = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        Ok(Self { samples: scrape.samples, series })
    }

    /// The series of a metric that have these labels.
    fn series_of(&self, name: &str, labels: Labels<'_>) -> impl Iterator<Item = &Sample> {
        let of_it = move |sample: &&Sample| {
            sample.metric == name && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(*value))
        };
        self.samples.iter().filter(of_it)
    }

    /// The sum of the series of a counter or gauge that have these labels; `None` when there is none.
    pub(crate) fn sum(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        let values = self.series_of(name, labels).filter_map(|sample| match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => Some(value),
            Value::Histogram(_) | Value::Summary(_) => None,
        });
        values.reduce(|sum, value| sum + value)
    }

    /// The values of a label of a metric.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> =
            self.series_of(name, &[]).filter_map(|sample| Some(sample.labels.get(label)?.to_owned())).collect();
        values.sort();
        values.dedup();
        values
    }

    /// The buckets of a histogram, its series added up: upper bounds with the counts up to them.
    fn buckets(&self, name: &str, labels: Labels<'_>) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.series_of(name, labels) {
            let Value::Histogram(counts) = &sample.value else { continue };
            for count in counts {
                match buckets.iter_mut().find(|(bound, _)| bound.total_cmp(&count.less_than).is_eq()) {
                    Some((_, sum)) => *sum += count.count,
                    None => buckets.push((count.less_than, count.count)),
                }
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }
}

/// What a counter rose by between two expositions; `None` when it is in neither. A service that was started anew counts
/// from 0.
pub(crate) fn rise(before: &Exposition, after: &Exposition, name: &str, labels: Labels<'_>) -> Option<f64> {
    let (then, now) = (before.sum(name, labels).unwrap_or(0.0), after.sum(name, labels)?);
    Some(if now < then { now } else { now - then })
}

/// How many times a histogram observed something between two expositions.
pub(crate) fn observed(before: &Exposition, after: &Exposition, (name, labels): (&str, Labels<'_>)) -> f64 {
    let count = |exposition: &Exposition| exposition.buckets(name, labels).last().map_or(0.0, |(_, count)| *count);
    count(after) - count(before)
}

/// A quantile of what a histogram observed between two expositions, by linear interpolation in the bucket as Prometheus'
/// `histogram_quantile` has it; `None` when it observed nothing. Above the last bound it is that bound.
pub(crate) fn quantile(
    before: &Exposition,
    after: &Exposition,
    (name, labels): (&str, Labels<'_>),
    share: f64,
) -> Option<f64> {
    let then: BTreeMap<u64, f64> =
        before.buckets(name, labels).into_iter().map(|(bound, count)| (bound.to_bits(), count)).collect();
    let now = after.buckets(name, labels);
    let counts: Vec<(f64, f64)> =
        now.iter().map(|&(bound, count)| (bound, count - then.get(&bound.to_bits()).unwrap_or(&0.0))).collect();
    let all = counts.last()?.1;
    if all <= 0.0 {
        return None;
    }
    let rank = share * all;
    let at = counts.iter().position(|(_, count)| *count >= rank)?;
    let (from, below) = if at == 0 { (0.0, 0.0) } else { counts[at - 1] };
    let (to, up_to) = counts[at];
    if to.is_infinite() {
        return Some(from);
    }
    Some(from + (to - from) * if up_to > below { (rank - below) / (up_to - below) } else { 1.0 })
}

/// What is followed through the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Since the first request, in seconds.
    pub(crate) at: f64,
    /// Values by name; one that the service does not tell is missing.
    pub(crate) values: BTreeMap<String, f64>,
}

impl Look {
    /// A value by its name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// Labels with their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// Followed: a name for people, the metric, and labels.
const FOLLOWED: &[(&str, &str, Labels<'_>)] = &[
    (CONNECTIONS, "dgm_http_connections", &[]),
    ("requests in flight", "dgm_http_requests_in_flight", &[]),
    (RESIDENT, "process_resident_memory_bytes", &[]),
    (CACHED, "dgm_cache_size_bytes", &[]),
    (DRAWN, "dgm_selection_size_bytes", &[]),
    (DATABASE_CONNECTIONS, "dgm_db_server_connections", &[]),
    (POOLS, "dgm_db_pool_connections_max", &[]),
    (DEAD, "dgm_db_rows_dead", &[]),
    (LIVE, "dgm_db_rows_live", &[]),
    ("improvements queued", "dgm_improvements", &[("state", "queued")]),
    ("writes waiting", "dgm_writer_queued", &[]),
];
/// Connections that the service holds open for callers.
pub(crate) const CONNECTIONS: &str = "connections";
/// Bytes of memory of the service.
pub(crate) const RESIDENT: &str = "resident memory";
/// Bytes of it that the in-process cache says it holds.
pub(crate) const CACHED: &str = "cache in process";
/// Bytes of it that the pools say they hold from which parents are drawn: some hundred an entry.
pub(crate) const DRAWN: &str = "pools of parents";
/// Connections that the database holds open.
pub(crate) const DATABASE_CONNECTIONS: &str = "database connections";
/// Connections to the database that the service's pools may open.
pub(crate) const POOLS: &str = "pools' bound";
/// Rows that are dead and not yet swept up.
pub(crate) const DEAD: &str = "dead rows";
/// Rows that are not.
pub(crate) const LIVE: &str = "live rows";
/// Series of the exposition.
pub(crate) const SERIES: &str = "series";

/// Looks at the service's metrics.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    client: Client,
    url: Url,
}

impl Watcher {
    /// One for the operations listener at this address.
    ///
    /// # Errors
    /// When there is no client to be had.
    pub(crate) fn new(operations: &Url) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([]).build()?;
        Ok(Self { client, url: operations.join("/metrics")? })
    }

    /// Looks once.
    ///
    /// # Errors
    /// When the service does not answer, or not with metrics.
    pub(crate) async fn look(&self) -> Result<Exposition> {
        let answer = self.client.get(self.url.clone()).send().await;
        let answer = answer.with_context(|| format!("no answer from {}", self.url))?;
        ensure!(answer.status().is_success(), "{}: {}", self.url, answer.status());
        Exposition::parse(&answer.text().await?)
    }

    /// Looks when the service has read anew what the database tells of the time up to now.
    ///
    /// # Errors
    /// As [`Self::look`]; when it does not for 45 s.
    pub(crate) async fn look_at_all(&self) -> Result<Exposition> {
        // PostgreSQL's own processes hand in their counts once a second.
        let since = chrono::Utc::now() + chrono::TimeDelta::seconds(2);
        let began = Instant::now();
        loop {
            let exposition = self.look().await?;
            let told = exposition.sum(COLLECTED.0, &[("job_name", COLLECTED.1)]).unwrap_or(0.0);
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
            if told >= since.timestamp() as f64 {
                return Ok(exposition);
            }
            ensure!(began.elapsed() < TOLD, "the service has not read the database's statistics for {TOLD:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Looks again and again from `began` on, until it is dropped; a look that fails is left out.
    pub(crate) fn follow(&self, began: Instant, every: Duration) -> Following {
        let looks = Arc::new(Mutex::new(Vec::new()));
        let (watcher, seen) = (self.clone(), Arc::clone(&looks));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(every);
            loop {
                ticks.tick().await;
                if let Ok(exposition) = watcher.look().await {
                    let look = glance(&exposition, began.elapsed());
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(look);
                }
            }
        });
        Following { looks, task }
    }
}

fn glance(exposition: &Exposition, at: Duration) -> Look {
    let followed = FOLLOWED
        .iter()
        .filter_map(|(name, metric, labels)| Some(((*name).to_owned(), exposition.sum(metric, labels)?)));
    let mut values: BTreeMap<String, f64> = followed.collect();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    values.insert(SERIES.to_owned(), exposition.series as f64);
    Look { at: at.as_secs_f64(), values }
}

/// Looks that go on until this is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    looks: Arc<Mutex<Vec<Look>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Following {
    /// What was seen.
    pub(crate) fn looks(&self) -> Vec<Look> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE hits_total counter\nhits_total{tier=\"l1\"} 10\nhits_total{tier=\"l2\"} 5\n\
        # TYPE t_seconds histogram\nt_seconds_bucket{le=\"0.001\"} 100\nt_seconds_bucket{le=\"0.01\"} 100\n\
        t_seconds_bucket{le=\"+Inf\"} 100\nt_seconds_sum 1\nt_seconds_count 100\n";
    const AFTER: &str = "# TYPE hits_total counter\nhits_total{tier=\"l1\"} 30\nhits_total{tier=\"l2\"} 5\n\
        # TYPE t_seconds histogram\nt_seconds_bucket{le=\"0.001\"} 190\nt_seconds_bucket{le=\"0.01\"} 200\n\
        t_seconds_bucket{le=\"+Inf\"} 200\nt_seconds_sum 1\nt_seconds_count 200\n";

    #[test]
    fn counters_and_histograms_are_compared() {
        let (before, after) = (Exposition::parse(BEFORE).unwrap(), Exposition::parse(AFTER).unwrap());
        assert_eq!(rise(&before, &after, "hits_total", &[]), Some(20.0));
        assert_eq!(rise(&before, &after, "hits_total", &[("tier", "l2")]), Some(0.0));
        assert_eq!(rise(&after, &before, "hits_total", &[("tier", "l1")]), Some(10.0), "counted from 0 again");
        assert_eq!(rise(&before, &after, "misses_total", &[]), None);
        assert_eq!(before.series, 7);
        // 90 of the 100 new ones are below 1 ms, the others between 1 and 10.
        let p = |share| quantile(&before, &after, ("t_seconds", &[]), share);
        assert!((p(0.45).unwrap() - 0.0005).abs() < 1e-9);
        assert!((p(0.95).unwrap() - 0.0055).abs() < 1e-9);
        assert_eq!(quantile(&after, &after, ("t_seconds", &[]), 0.95), None);
        assert_eq!(after.values_of("hits_total", "tier"), ["l1", "l2"]);
    }
}
