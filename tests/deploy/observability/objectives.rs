//! The objectives are in what operators load and in the documents, and their numbers are written nowhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dgm_service::observability::objectives::{
    AVAILABILITY, CACHE_ANSWER_SECONDS, CACHE_HIT_RATIO, CONNECTIONS, ERRORS, INDEX_USAGE, INDEX_USAGE_ROWS,
    INGEST_SECONDS, INGEST_SHARE, LATENCY_SECONDS, LATENCY_SHARE, THROUGHPUT,
};
use dgm_service::observability::{Options, alerts, files, slo};
use dgm_service::telemetry::catalogue::LATENCY;
use serde_json::Value;

#[test]
fn rules_and_panels_compare_with_the_objectives() {
    let targets: BTreeMap<&str, f64> = slo::slos().iter().map(|slo| (slo.name, slo.target)).collect();
    let expected = [
        ("availability", AVAILABILITY),
        ("cache", CACHE_HIT_RATIO),
        ("ingest", INGEST_SHARE),
        ("latency", LATENCY_SHARE),
    ];
    assert_eq!(targets, expected.into());
    for rule in slo::recordings().iter().filter(|rule| rule.record.starts_with("dgm:slo_errors:")) {
        let (_, name) = &rule.labels[0];
        let edge = match name.as_str() {
            "latency" => format!("le=\"{LATENCY_SECONDS}\""),
            "ingest" => format!("le=\"{INGEST_SECONDS}\""),
            _ => continue,
        };
        assert!(rule.expr.contains(&edge), "{name}: {}", rule.expr);
    }
    // A bucket's edge, or nothing is counted.
    for seconds in [LATENCY_SECONDS, INGEST_SECONDS, CACHE_ANSWER_SECONDS] {
        assert!(LATENCY.contains(&seconds), "{seconds}");
    }

    let groups = alerts::groups();
    let all: Vec<_> = groups.iter().flat_map(|(_, alerts)| alerts).collect();
    for (name, condition) in [
        ("DgmCacheHitRateLow", format!(" < {CACHE_HIT_RATIO} and ")),
        ("DgmCacheSlow", format!(" > {CACHE_ANSWER_SECONDS}\n")),
        ("DgmQueryLatencyHigh", format!(" > {LATENCY_SECONDS}\n")),
        ("DgmIndexUsageLow", format!("dgm_db_rows_live) > {INDEX_USAGE_ROWS}) < {INDEX_USAGE}\n")),
    ] {
        let alert = all.iter().find(|alert| alert.name == name).unwrap();
        assert!(alert.expr.contains(&condition), "{name}: {}", alert.expr);
    }

    let thresholds = thresholds();
    for (dashboard, panel, edge) in [
        ("overview", "Server errors", ERRORS),
        ("overview", "Latency p95", LATENCY_SECONDS),
        ("overview", "Latency", LATENCY_SECONDS),
        ("overview", "Cache hit rate", CACHE_HIT_RATIO),
        ("api", "Latency p95 by route", LATENCY_SECONDS),
        ("api", "Latency of all", LATENCY_SECONDS),
        ("cache", "Hit rate", CACHE_HIT_RATIO),
        ("cache", "Time of an answer", CACHE_ANSWER_SECONDS),
        ("database", "p95 by statement", LATENCY_SECONDS),
        ("database", "Rows found by an index", INDEX_USAGE),
    ] {
        let key = (format!("dgm-{dashboard}"), panel.to_owned());
        assert!(thresholds.get(&key).is_some_and(|edges| edges.contains(&edge)), "{key:?}: {:?}", thresholds.get(&key));
    }
}

/// Dashboard and title of each panel, and the edges of its colours.
fn thresholds() -> BTreeMap<(String, String), Vec<f64>> {
    let mut found = BTreeMap::new();
    for (path, text) in files(&Options::default()).unwrap() {
        if !path.starts_with("dashboards/dgm-") {
            continue;
        }
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
            let edges = steps.into_iter().flatten().filter_map(|step| step["value"].as_f64()).collect();
            let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            found.insert((name(&dashboard["uid"]), name(&panel["title"])), edges);
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_numbers_of_the_objectives_are_written_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = [
        // In words. What 95 % of all are is also the name of a quantile.
        "99.9 %",
        "0.1 %",
        "99.5 %",
        "100 ms",
        "100ms",
        "10 ms",
        "80 %",
        // As conditions and edges, where nothing else has them.
        "< 0.8 ",
        "< 0.95",
        "Below(0.8)",
        "Below(0.95)",
        "Above(0.01)",
        "Above(0.001)",
        "target: 0.",
    ];
    let mut repeated = Vec::new();
    let mut files = Vec::new();
    sources(&root.join("src/observability"), &mut files);
    files.push(root.join("loadtest/src/verdict/mod.rs"));
    assert!(files.len() > 20, "the walk found too little");
    for file in
        files.iter().filter(|file| !["objectives.rs", "words.rs", "tests.rs"].iter().any(|name| file.ends_with(name)))
    {
        let text = std::fs::read_to_string(file).unwrap();
        // Unit tests expect the texts that result.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| written.iter().any(|number| line.contains(number))) {
            repeated.push(format!("{}: {}", file.display(), line.trim()));
        }
    }
    assert!(repeated.is_empty(), "take it from objectives.rs:\n{}", repeated.join("\n"));
}

#[test]
fn the_documents_name_the_objectives() {
    let percent = |share: f64| format!("{} %", (share * 1e6).round() / 1e4);
    let milliseconds = |seconds: f64| format!("{} ms", (seconds * 1e6).round() / 1e3);
    let (latency, answer) = (milliseconds(LATENCY_SECONDS), milliseconds(CACHE_ANSWER_SECONDS));
    for (path, line) in [
        ("docs/LOADTEST.md", format!("| `latency p95`, `latency p95 of ...` | < {latency} |")),
        ("docs/LOADTEST.md", format!("| `cache answer p95` | < {answer} |")),
        ("docs/LOADTEST.md", format!("| `cache hit rate` | {} |", percent(CACHE_HIT_RATIO))),
        ("docs/LOADTEST.md", format!("| `index usage` | {} |", percent(INDEX_USAGE))),
        ("docs/LOADTEST.md", format!("| `connections` | {CONNECTIONS} |")),
        ("docs/LOADTEST.md", format!("| `throughput` | {},000/s |", THROUGHPUT / 1e3)),
        ("docs/OPERATIONS.md", format!("more than {} answered 5xx; p95 above {latency};", percent(ERRORS))),
    ] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        assert!(text.contains(&line), "{path} lacks {line}");
    }
}
