//! The house rules, read from the sources: who may name which library, and how long a file may be.

use std::path::{Path, PathBuf};

/// Library, the folders of `src/` that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("redis", &["cache"]),
    ("moka", &["cache"]),
    ("rusqlite", &["interchange"]),
    ("parquet", &["interchange"]),
    ("object_store", &["store"]),
    ("rustls", &["tls"]),
    ("clap", &["cli"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("tokio_cron_scheduler", &["jobs"]),
    ("figment", &["config", "cli"]),
];
/// Layer, the layers of this crate that it must not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "closed",
        &[
            "app",
            "cache",
            "cli",
            "config",
            "domain",
            "http",
            "interchange",
            "jobs",
            "observability",
            "postgres",
            "service",
            "store",
            "telemetry",
        ],
    ),
    (
        "domain",
        &["app", "cache", "cli", "config", "http", "interchange", "jobs", "postgres", "service", "store", "telemetry"],
    ),
    (
        "telemetry",
        &["app", "cache", "cli", "config", "domain", "http", "interchange", "jobs", "postgres", "service", "store"],
    ),
    (
        "config",
        &["app", "cache", "cli", "domain", "http", "interchange", "jobs", "postgres", "service", "store", "telemetry"],
    ),
    (
        "postgres",
        &["app", "cache", "cli", "config", "domain", "http", "interchange", "jobs", "service", "store", "telemetry"],
    ),
    (
        "observability",
        &["app", "cache", "cli", "config", "domain", "http", "interchange", "jobs", "postgres", "service", "store"],
    ),
    ("interchange", &["app", "cache", "cli", "config", "http", "jobs", "postgres", "service", "store", "telemetry"]),
    ("cache", &["app", "cli", "config", "domain", "http", "interchange", "jobs", "postgres", "service", "store"]),
    ("store", &["app", "cache", "cli", "config", "http", "interchange", "jobs", "postgres", "service"]),
    ("service", &["app", "cli", "config", "http", "jobs", "postgres"]),
    ("http", &["app", "cache", "cli", "config", "interchange", "postgres", "store"]),
    ("jobs", &["app", "cache", "cli", "config", "http", "interchange", "postgres", "store"]),
];
const MAX_LINES: usize = 300;
/// Files over the limit. Shrink only.
const LONG_FILES: &[&str] = &[];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Comments, and names of a span's target, use no library.
fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//") && !line.contains("target: \"")
}

#[test]
fn every_import_and_every_file_length_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut faults = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let layer = name.split('/').next().unwrap().trim_end_matches(".rs");
        let text = std::fs::read_to_string(file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_code(line)) {
            let place = format!("src/{name}:{}", number + 1);
            for (library, homes) in HOMES {
                let names_it = line.contains(&format!("{library}::")) || line.contains(&format!("use {library};"));
                // `rusqlite::` must not be read as `sqlite::` and the like: the name starts a word.
                let whole = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *library);
                if names_it && whole && !homes.contains(&layer) {
                    faults.push(format!("{place}: {library} belongs to {homes:?} only"));
                }
            }
            for (from, banned) in FORBIDDEN.iter().filter(|(from, _)| *from == layer) {
                for other in banned.iter().filter(|other| line.contains(&format!("crate::{other}::"))) {
                    faults.push(format!("{place}: {from} must not use {other}"));
                }
            }
        }
        let lines = text.lines().count();
        if (lines > MAX_LINES) != LONG_FILES.contains(&name) {
            faults.push(format!("src/{name}: {lines} lines (limit {MAX_LINES}; LONG_FILES may only shrink)"));
        }
    }
    assert!(files.len() > 5, "the walk found too little");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
