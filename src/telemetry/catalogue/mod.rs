//! Every metric, once: name, kind, unit, help, buckets, labels. Nothing else in the crate may name a metric (clippy.toml
//! bans the raw macros), so docs/METRICS.md, dashboards and alerts can be checked against this list.

pub mod artifacts;
pub mod auth;
pub mod cache;
pub mod database;
pub mod http;
pub mod jobs;
pub mod labels;
mod metric;
pub mod process;
pub mod queue;
pub mod redis_server;
pub mod routes;
pub mod samples;
mod seconds;
pub mod server;
pub mod statements;
pub mod telemetry;
pub mod writer;

pub use metric::{Counter, Described, Gauge, Histogram, Kind, Label, Labels, Metric, figure, unix_seconds};
pub use seconds::Seconds;

/// Edges in seconds for what takes from a tenth of a millisecond to ten seconds. 0.01 and 0.1 are promises of the
/// specification (cache answer, p95), so they must be edges.
pub const LATENCY: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Edges in seconds for jobs.
pub const LONG: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Edges in seconds for improvements, which wait and run for seconds to a day.
pub const WORK: &[f64] = &[0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0];

/// Edges in rows for batches.
pub const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 512.0, 1000.0, 2500.0];

/// Declares the metrics of a group: typed statics, and `METRICS`, their list.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $kind:ident $name:ident<$labels:ty> = $text:literal, $unit:literal $(, $buckets:expr)?;)*) => {
        $($(#[doc = $help])+
        pub static $name: $crate::telemetry::catalogue::$kind<$labels> =
            $crate::telemetry::catalogue::$kind::new($crate::telemetry::catalogue::Metric {
                ident: stringify!($name),
                name: $text,
                kind: $crate::telemetry::catalogue::$kind::<$labels>::KIND,
                unit: $unit,
                help: concat!($($help),+),
                buckets: $crate::telemetry::catalogue::buckets(&[$($buckets)?]),
                labels: <$labels as $crate::telemetry::catalogue::Labels>::names,
            });)*

        /// The metrics of this group.
        pub static METRICS: &[&(dyn $crate::telemetry::catalogue::metric::Described + Sync)] = &[$(&$name),*];
    };
}
use metrics;

/// The edges of a declaration, which has one set of them or none.
const fn buckets(declared: &[&'static [f64]]) -> &'static [f64] {
    match declared {
        [edges, ..] => edges,
        [] => &[],
    }
}

/// The groups, by name.
#[must_use]
pub fn groups() -> Vec<(&'static str, &'static [&'static (dyn Described + Sync)])> {
    vec![
        ("HTTP", http::METRICS),
        ("Cache", cache::METRICS),
        ("Database", database::METRICS),
        ("PostgreSQL server", server::METRICS),
        ("Redis", redis_server::METRICS),
        ("Queue of improvements", queue::METRICS),
        ("Samples", samples::METRICS),
        ("Group commit", writer::METRICS),
        ("Artifacts", artifacts::METRICS),
        ("Jobs", jobs::METRICS),
        ("Identity", auth::METRICS),
        ("Logs", telemetry::logs::METRICS),
        ("Traces", telemetry::traces::METRICS),
        ("Process", process::METRICS),
    ]
}

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static (dyn Described + Sync)> {
    groups().into_iter().flat_map(|(_, metrics)| metrics.iter().copied())
}

/// Describes every metric to the recorder and starts every counter at 0. Call it once, after the recorder is installed
/// and the routes are defined.
pub fn initialise() {
    for metric in all() {
        metric.initialise();
    }
    process::BUILD_INFO.set((labels::Version, labels::Revision, labels::Rustc), 1.0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut seen = BTreeSet::new();
        for metric in all().map(Described::metric) {
            let name = metric.name;
            // What every process has goes by the names that dashboards know
            // (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
            assert!(name.starts_with("dgm_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{name}: _total and counters go together"
            );
            if ["seconds", "bytes"].contains(&metric.unit) {
                let measured = name.strip_suffix("_total").unwrap_or(name);
                assert!(
                    measured.ends_with(&format!("_{}", metric.unit)),
                    "{name}: the unit comes last, but for _total"
                );
            }
            assert_eq!(metric.kind == Kind::Histogram, !metric.buckets.is_empty(), "{name}: buckets");
            assert!(metric.buckets.is_sorted(), "{name}: buckets rise");
            assert!(metric.help.ends_with('.'), "{name}: help is a sentence");
            assert!(seen.insert(name), "{name} stands twice");
        }
        assert!(groups().iter().all(|(_, metrics)| !metrics.is_empty()), "a group without metrics");
    }
}
