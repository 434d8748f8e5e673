//! Which metrics an expression names, and so which panels and alerts use a metric.

use std::collections::BTreeSet;

use super::dashboard::{DEPLOYS, STARTS, Source};
use super::{alerts, dashboards, slo};
use crate::telemetry::catalogue::{Described, Kind};

/// Words of an expression that are names of this service's metrics or of what every process has, as they stand in the
/// catalogue: without what the parts of a histogram add.
pub(super) fn metrics(expr: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    // What stands in quotes is a label's value.
    expr.split('"')
        .step_by(2)
        .flat_map(|part| part.split(|c| !word(c)))
        .filter(|name| (name.starts_with("dgm_") || name.starts_with("process_")) && !name.contains(':'))
        .map(|name| base(name).to_owned())
        .collect()
}

/// The name of a histogram whose part it is, else the name.
fn base(name: &str) -> &str {
    let of = |suffix| {
        let stem = name.strip_suffix(suffix)?;
        crate::telemetry::catalogue::all()
            .map(Described::metric)
            .any(|metric| metric.kind == Kind::Histogram && metric.name == stem)
            .then_some(stem)
    };
    ["_bucket", "_sum", "_count"].into_iter().find_map(of).unwrap_or(name)
}

/// What uses a metric, in words.
pub(super) struct Uses {
    expressions: Vec<(String, Use)>,
}

enum Use {
    Panel(String),
    Alert(&'static str),
    Slo(&'static str),
}

impl Uses {
    pub(super) fn collect() -> Self {
        let mut expressions = Vec::new();
        for dashboard in dashboards::all() {
            for panel in dashboard.panels().filter(|panel| panel.source == Source::Prometheus) {
                for query in &panel.queries {
                    expressions.push((query.expr.clone(), Use::Panel(format!("{}: {}", dashboard.uid, panel.title))));
                }
            }
        }
        for expr in [DEPLOYS, STARTS] {
            expressions.push((expr.to_owned(), Use::Panel("annotations of every dashboard".to_owned())));
        }
        for slo in slo::slos() {
            expressions.push((slo.bad.clone(), Use::Slo(slo.name)));
            expressions.push((slo.all.clone(), Use::Slo(slo.name)));
        }
        for alert in alerts::groups().into_iter().flat_map(|(_, alerts)| alerts) {
            expressions.push((alert.expr.clone(), Use::Alert(alert.name)));
        }
        Self { expressions }
    }

    /// Panels, alerts (those of objectives that are made of it among them), objectives.
    pub(super) fn of(&self, metric: &str) -> (Vec<String>, Vec<&'static str>, Vec<&'static str>) {
        let (mut panels, mut alerts, mut slos) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (expr, used) in &self.expressions {
            if metrics(expr).contains(metric) {
                match used {
                    Use::Panel(panel) => panels.insert(panel.clone()),
                    Use::Alert(alert) => alerts.insert(*alert),
                    Use::Slo(slo) => slos.insert(*slo),
                };
            }
        }
        (panels.into_iter().collect(), alerts.into_iter().collect(), slos.into_iter().collect())
    }
}
