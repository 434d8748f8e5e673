//! The rules of Grafana's dashboard-linter (<https://github.com/grafana/dashboard-linter/blob/main/docs/index.md>), and some of
//! our own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use dgm_service::observability::{Options, alerts, dashboards, files};
use serde_json::Value;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().unwrap_or_else(|| panic!("no {field} in {value}"))
}

#[test]
fn dashboards_keep_the_linters_rules() {
    let mut count = 0;
    let mut uids = BTreeSet::new();
    for (name, json) in files(&Options::default()).unwrap() {
        let Some(file) = name.strip_prefix("dashboards/") else { continue };
        let Some(stem) = file.strip_suffix(".json") else { continue };
        let dashboard: Value = serde_json::from_str(&json).unwrap();
        let uid = text(&dashboard, "uid");
        assert_eq!(stem, uid);
        assert!(uids.insert(uid.to_owned()), "{uid} twice");
        assert!(!text(&dashboard, "title").is_empty() && !text(&dashboard, "description").is_empty(), "{uid}");
        assert_eq!(dashboard["editable"], false, "{uid}: what is written by code is not changed by hand");
        variables(uid, &dashboard);
        let link = &items(&dashboard, "links")[0];
        assert_eq!(
            (&link["keepTime"], &link["includeVars"], &link["tags"][0]),
            (&true.into(), &true.into(), &"dgm".into())
        );
        for annotation in items(&dashboard["annotations"], "list") {
            assert!(text(annotation, "expr").contains("job=~\"$job\""), "{uid}: {annotation}");
        }
        let mut ids = BTreeSet::new();
        for panel in items(&dashboard, "panels") {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{uid}: an id twice");
            if panel["type"] != "row" {
                check(uid, panel);
                count += 1;
            }
        }
        overlap(uid, items(&dashboard, "panels"));
    }
    assert_eq!(uids.len(), dashboards::all().len());
    assert!(count > 60, "{count} panels");
    for alert in alerts::groups().into_iter().flat_map(|(_, alerts)| alerts) {
        assert!(uids.contains(alert.dashboard), "{} links to {}", alert.name, alert.dashboard);
    }
}

/// template-datasource-rule, template-job-rule, template-instance-rule, template-label-promql-rule.
fn variables(uid: &str, dashboard: &Value) {
    let list = items(&dashboard["templating"], "list");
    let named = |name: &str| {
        list.iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("{uid}: no {name}"))
    };
    let source = named("datasource");
    assert_eq!((text(source, "type"), text(source, "query")), ("datasource", "prometheus"), "{uid}");
    for name in ["job", "instance"] {
        let variable = named(name);
        assert_eq!((&variable["multi"], text(variable, "allValue")), (&true.into(), ".+"), "{uid}: {name}");
        assert_eq!(
            (&variable["refresh"], text(&variable["datasource"], "uid")),
            (&2.into(), "${datasource}"),
            "{uid}: {name}"
        );
        assert!(text(variable, "query").starts_with("label_values(dgm_build_info"), "{uid}: {name}");
    }
}

/// panel-datasource-rule, panel-title-description-rule, panel-units-rule, panel-no-targets-rule, target-rate-interval-rule,
/// target-job-rule, target-instance-rule, target-counter-agg-rule; a legend for every line.
fn check(uid: &str, panel: &Value) {
    let title = text(panel, "title");
    assert!(
        !title.is_empty() && text(panel, "description").ends_with('.'),
        "{uid}: {title}: a description is a sentence"
    );
    assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{uid}: {title}: unit");
    assert!(
        ["${datasource}", "${database}"].contains(&text(&panel["datasource"], "uid")),
        "{uid}: {title}: datasource"
    );
    let targets = items(panel, "targets");
    assert!(!targets.is_empty(), "{uid}: {title}: asks nothing");
    for target in targets.iter().filter(|target| target["expr"].is_string()) {
        let expr = text(target, "expr");
        assert!(!expr.contains("$sel"), "{uid}: {title}: {expr}");
        for selector in super::promql::selectors(expr) {
            let names: Vec<String> = selector.matches().into_iter().map(|(name, ..)| name).collect();
            let chosen = names.contains(&"job".to_owned()) || selector.metric == "dgm:slo_target:ratio";
            assert!(chosen, "{uid}: {title}: {} of any job", selector.metric);
            let by_instance = names.contains(&"instance".to_owned()) || selector.metric.starts_with("dgm:");
            assert!(by_instance, "{uid}: {title}: {} of any instance", selector.metric);
            // A counter says something by its rate only.
            if selector.metric.ends_with("_total") {
                let used = expr.split(&selector.metric).next().unwrap().trim_end();
                assert!(used.ends_with("rate(") || used.ends_with("increase("), "{uid}: {title}: {expr}");
            }
        }
        if panel["type"] == "timeseries" {
            assert!(!expr.contains("rate(") || expr.contains("[$__rate_interval]"), "{uid}: {title}: {expr}");
            assert!(!text(target, "legendFormat").is_empty(), "{uid}: {title}: legend");
        }
    }
}

/// No two panels lie on each other, and none leaves the grid.
fn overlap(uid: &str, panels: &[Value]) {
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{uid}: {}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{uid}: {} lies on another", panel["title"]);
            }
        }
    }
}

/// target-promql-rule, by Prometheus's own parser: a rules file that records every panel.
#[test]
fn every_expression_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    for (index, (_, expr)) in super::consistency::expressions().into_iter().enumerate() {
        let times =
            [("$__rate_interval", "1m"), ("$(5m)", "300"), ("$(1h)", "3600"), ("$(26h)", "93600"), ("$(8d)", "691200")];
        let expr = times.iter().fold(expr, |expr, (time, seconds)| expr.replace(time, seconds));
        write!(rules, "      - record: a:b:c{index}\n        expr: {}\n", Value::from(expr)).unwrap();
    }
    let file = directory.path().join("panels.yaml");
    std::fs::write(&file, rules).unwrap();
    let checked = Command::new("promtool").args(["check", "rules"]).arg(file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
