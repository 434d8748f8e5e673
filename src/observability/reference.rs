//! The catalogue of metrics for readers: docs/METRICS.md, JSON, and the metadata of the text exposition.

use std::fmt::Write as _;

use serde::Serialize;

use super::uses::Uses;
use crate::telemetry::catalogue::{Kind, Metric, groups};

/// Labels with more values than this are told by number.
const FEW: usize = 8;

include!(concat!(env!("OUT_DIR"), "/set_in.rs"));

/// A metric, with what stands around it.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The group that it belongs to.
    pub group: &'static str,
    /// The name on the wire.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The unit, in words.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Upper edges of a histogram's buckets.
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    pub buckets: &'static [f64],
    /// Files of the source in which it is set.
    pub set_in: Vec<&'static str>,
    /// Panels that show it.
    pub panels: Vec<String>,
    /// Alerts that look at it.
    pub alerts: Vec<&'static str>,
    /// Objectives that are measured by it.
    pub objectives: Vec<&'static str>,
}

/// A label.
#[derive(Debug, Clone, Serialize)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Vec<&'static str>,
}

/// Every metric.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let uses = Uses::collect();
    let entry = |group, metric: &Metric| {
        let (panels, alerts, objectives) = uses.of(metric.name);
        Entry {
            group,
            name: metric.name,
            kind: word(metric.kind),
            unit: metric.unit,
            meaning: metric.help.trim(),
            labels: (metric.labels)().into_iter().map(|(name, values)| Label { name, values }).collect(),
            buckets: metric.buckets,
            set_in: SET_IN.iter().filter(|(ident, _)| *ident == metric.ident).map(|(_, file)| *file).collect(),
            panels,
            alerts,
            objectives,
        }
    };
    groups()
        .into_iter()
        .flat_map(|(group, metrics)| metrics.iter().map(move |m| (group, m.metric())))
        .map(|(g, m)| entry(g, m))
        .collect()
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

/// docs/METRICS.md.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\nWritten from `src/telemetry/catalogue/` by `make generate`. Scrape `/metrics` of the operations \
         listener (9007).\nCounters exist at 0 from the start. Histograms have classic buckets. `dgm metrics --format json` has \
         all values of labels and all buckets.\n",
    );
    let mut group = "";
    for entry in entries() {
        if entry.group != group {
            group = entry.group;
            let _ = write!(text, "\n## {group}\n");
        }
        let labels: Vec<String> = entry.labels.iter().map(label).collect();
        let _ = write!(text, "\n### `{}`\n\n{}\n\n", entry.name, entry.meaning);
        let _ = writeln!(text, "- {}, in {}; labels: {}", entry.kind, entry.unit, or_none(&labels, "; "));
        let files: Vec<String> = entry.set_in.iter().map(|file| format!("`{file}`")).collect();
        let _ = writeln!(text, "- set in {}", or_none(&files, ", "));
        let _ = writeln!(text, "- panels: {}", or_none(&entry.panels, "; "));
        let mut alerts: Vec<String> =
            entry.alerts.iter().map(|alert| format!("[{alert}](../alerts/runbooks/{alert}.md)")).collect();
        alerts.extend(entry.objectives.iter().map(|slo| format!("those of the objective {slo}")));
        let _ = writeln!(text, "- alerts: {}", or_none(&alerts, ", "));
    }
    text
}

fn or_none(items: &[String], separator: &str) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(separator) }
}

fn label(label: &Label) -> String {
    let Label { name, values } = label;
    match values.len() {
        // They differ from build to build.
        _ if ["version", "revision", "rustc"].contains(name) => format!("`{name}`"),
        0..=FEW => format!("`{name}` ({})", values.join(", ")),
        many => format!("`{name}` ({many} values)"),
    }
}

/// HELP and TYPE of every metric, as a scrape has them (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
#[must_use]
pub fn metadata() -> String {
    let mut text = String::new();
    for Entry { name, kind, meaning, .. } in entries() {
        let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
    }
    text
}
