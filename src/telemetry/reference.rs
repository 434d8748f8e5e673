//! docs/METRICS.md, written from the catalogue.

use std::fmt::Write as _;

use super::catalogue::{Kind, groups};

/// Labels with more values than this are told by number.
const FEW: usize = 8;

/// The reference.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\nWritten from `src/telemetry/catalogue/` by `make generate`. Scrape `/metrics` of the operations \
         listener (9007).\nCounters exist at 0 from the start. Histograms have classic buckets.\n",
    );
    for (group, metrics) in groups() {
        let _ = write!(text, "\n## {group}\n\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
        for metric in metrics.iter().map(|metric| metric.metric()) {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels: Vec<String> = (metric.labels)()
                .into_iter()
                .map(|(name, values)| match values.len() {
                    // Routes are defined when the router is built.
                    _ if name == "route" => "`route` (a template of the API, or unmatched)".to_owned(),
                    _ if ["version", "revision", "rustc"].contains(&name) => format!("`{name}`"),
                    0..=FEW => format!("`{name}` ({})", values.join(", ")),
                    many => format!("`{name}` ({many} values)"),
                })
                .collect();
            let labels = if labels.is_empty() { "none".to_owned() } else { labels.join("; ") };
            let _ =
                writeln!(text, "| `{}` | {kind} | {} | {labels} | {} |", metric.name, metric.unit, metric.help.trim());
        }
    }
    text
}
