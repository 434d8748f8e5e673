//! The catalogue, the reference, the rules, the dashboards and the runbooks name the same things: whoever removes a metric, or
//! renames one, is told by these tests where it is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dgm_service::jobs::{JOBS, Scope};
use dgm_service::observability::dashboard::Source;
use dgm_service::observability::{Options, alerts, dashboards, files, reference, runbooks, slo};

use super::promql::{Selector, selectors};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every expression of Prometheus that operators load, with the place where it stands.
pub(super) fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for dashboard in dashboards::all() {
        for panel in dashboard.panels().filter(|panel| panel.source == Source::Prometheus) {
            for query in &panel.queries {
                all.push((format!("{}: {}", dashboard.uid, panel.title), query.promql()));
            }
        }
    }
    for rule in slo::recordings() {
        all.push((rule.record, rule.expr));
    }
    for alert in alerts::groups().into_iter().flat_map(|(_, alerts)| alerts) {
        all.push((alert.name.to_owned(), alert.expr));
    }
    all
}

/// Names of the exposition, with their labels: those of a histogram's parts, too.
fn exposed() -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    dgm_service::http::define_labels();
    let mut names = BTreeMap::new();
    for entry in reference::entries() {
        let labels: BTreeMap<String, Vec<String>> = entry
            .labels
            .iter()
            .map(|label| (label.name.to_owned(), label.values.iter().map(|value| (*value).to_owned()).collect()))
            .collect();
        if entry.buckets.is_empty() {
            names.insert(entry.name.to_owned(), labels);
        } else {
            for part in ["_sum", "_count"] {
                names.insert(format!("{}{part}", entry.name), labels.clone());
            }
            let edges = entry.buckets.iter().map(ToString::to_string).chain(["+Inf".to_owned()]).collect();
            let with_edges = labels.into_iter().chain([("le".to_owned(), edges)]).collect();
            names.insert(format!("{}_bucket", entry.name), with_edges);
        }
    }
    names
}

/// What is wrong with a selector: a metric that there is none of, a label or a value that it cannot have.
fn faults(selector: &Selector, exposed: &BTreeMap<String, BTreeMap<String, Vec<String>>>) -> Vec<String> {
    let Selector { metric, .. } = selector;
    let own = |prefix: &str| metric.starts_with(prefix);
    if !own("dgm_") && !own("process_") {
        return Vec::new();
    }
    let Some(labels) = exposed.get(metric) else { return vec![format!("no metric {metric}")] };
    let mut found = Vec::new();
    for (label, operator, value) in selector.matches() {
        if ["job", "instance"].contains(&label.as_str()) {
            continue;
        }
        let Some(values) = labels.get(&label) else {
            found.push(format!("{metric} has no label {label}"));
            continue;
        };
        let alternatives: Vec<&str> = if operator.contains('~') { value.split('|').collect() } else { vec![&value] };
        for alternative in alternatives.into_iter().filter(|alternative| !alternative.contains(".*")) {
            if !values.iter().any(|value| value == alternative) {
                found.push(format!("{label} of {metric} is never {alternative:?}"));
            }
        }
    }
    found
}

#[test]
fn every_expression_names_what_there_is() {
    let exposed = exposed();
    let recorded: BTreeSet<String> = slo::recordings().into_iter().map(|rule| rule.record).collect();
    let mut faulty = Vec::new();
    for (place, expr) in expressions() {
        let selectors = selectors(&expr);
        assert!(
            !selectors.is_empty()
                || place.starts_with("dgm:slo_target")
                || place == alerts::WATCHDOG
                || expr.contains("ALERTS"),
            "{place}: {expr}"
        );
        for selector in selectors {
            faulty.extend(faults(&selector, &exposed).into_iter().map(|fault| format!("{place}: {fault}")));
            if selector.metric.starts_with("dgm:") && !recorded.contains(&selector.metric) {
                faulty.push(format!("{place}: no rule records {}", selector.metric));
            }
        }
    }
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}

/// The test above, of a catalogue that lacks one metric, for each of them.
#[test]
fn whichever_metric_is_removed_is_missed() {
    let exposed = exposed();
    let all: BTreeSet<Selector> = expressions().iter().flat_map(|(_, expr)| selectors(expr)).collect();
    let mut removed = 0;
    for entry in reference::entries() {
        let mut rest = exposed.clone();
        for part in ["", "_bucket", "_sum", "_count"] {
            rest.remove(&format!("{}{part}", entry.name));
        }
        assert!(rest.len() < exposed.len());
        assert!(all.iter().any(|selector| !faults(selector, &rest).is_empty()), "nobody misses {}", entry.name);
        removed += 1;
    }
    assert!(removed > 80, "{removed} metrics");
}

#[test]
fn every_metric_is_set_and_shown() {
    dgm_service::http::define_labels();
    let mut forgotten = Vec::new();
    for entry in reference::entries() {
        if entry.set_in.is_empty() {
            forgotten.push(format!("{} is set nowhere", entry.name));
        }
        if entry.panels.is_empty() {
            forgotten.push(format!("{} is on no panel", entry.name));
        }
    }
    assert!(forgotten.is_empty(), "{}", forgotten.join("\n"));
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts: BTreeSet<&str> =
        alerts::groups().iter().flat_map(|(_, alerts)| alerts).map(|alert| alert.name).collect();
    assert_eq!(alerts, runbooks::names().collect());
    let exposed = exposed();
    let index = std::fs::read_to_string(root().join("alerts/runbooks/README.md")).unwrap();
    let mut faulty = Vec::new();
    for name in alerts {
        let text = runbooks::of(name).unwrap();
        let headings: Vec<&str> =
            text.lines().filter(|line| line.starts_with('#') && !line.starts_with("###")).collect();
        let title = format!("# {name}");
        let wanted = [&title, "## Meaning", "## Impact", "## Diagnosis", "## Mitigation", "## Escalation"];
        let headings: Vec<&str> =
            headings.into_iter().filter(|line| line.starts_with("# Dgm") || line.starts_with("## ")).collect();
        if headings != wanted {
            faulty.push(format!("{name}: headings {headings:?}"));
        }
        if !index.contains(&format!("({name}.md)")) {
            faulty.push(format!("{name} is not in the index"));
        }
        for block in fences(text, "promql") {
            for selector in selectors(&block) {
                faulty.extend(faults(&selector, &exposed).into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}

/// What stands in the fences of a language.
fn fences(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}");
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&opening) {
        let (block, after) = after.split_once("```").unwrap();
        // A comment may say anything.
        blocks.push(block.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n"));
        rest = after;
    }
    blocks
}

#[test]
fn jobs_of_each_process_are_told_apart_from_the_others() {
    let each: BTreeSet<&str> = JOBS.iter().filter(|job| job.scope == Scope::Each).map(|job| job.name).collect();
    assert_eq!(alerts::EACH.split('|').collect::<BTreeSet<_>>(), each);
}

/// `make generate` writes these.
#[test]
fn what_operators_load_is_fresh() {
    let mut written = BTreeSet::new();
    for (name, text) in files(&Options::default()).unwrap() {
        let there = std::fs::read_to_string(root().join(&name)).unwrap_or_default();
        assert!(there == text, "{name} is not fresh: run `make generate`");
        written.insert(root().join(name));
    }
    // What is not written any more must not stay.
    for folder in ["alerts/rules", "alerts/tests", "dashboards"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let kept = path.is_dir() || path.extension().is_some_and(|extension| extension == "md");
            assert!(kept || written.contains(&path), "{} is not written by anybody", path.display());
        }
    }
}
