//! Tells the binary what it was built from.

#![allow(clippy::disallowed_macros, reason = "cargo reads a build script's standard output")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    set_in();
    let say = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
        output.and_then(|output| String::from_utf8(output.stdout).ok()).map(|text| text.trim().to_owned())
    };
    // An image is built without .git; its build passes the revision.
    let revision = env::var("DGM_REVISION").ok().or_else(|| say("git", &["rev-parse", "--short=12", "HEAD"]));
    let rustc = say(&env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()), &["--version"]);
    println!("cargo::rustc-env=DGM_REVISION={}", revision.unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rustc-env=DGM_RUSTC={}", rustc.unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rerun-if-env-changed=DGM_REVISION");
    // Absent in an archive of the source; a file that is missing would make cargo build everything every time.
    if let Some(head) = say("git", &["rev-parse", "--git-path", "HEAD"]).filter(|head| Path::new(head).exists()) {
        println!("cargo::rerun-if-changed={head}");
    }
    println!("cargo::rerun-if-changed=migrations");
}

/// Writes down which files of the source use the static of which metric, for the reference of metrics. `observability` reads
/// metrics and sets none.
fn set_in() {
    println!("cargo::rerun-if-changed=src");
    let mut sources = Vec::new();
    collect(Path::new("src"), &mut sources);
    sources.sort();
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    let (catalogue, users): (Vec<_>, Vec<_>) = sources
        .iter()
        .filter(|path| !path.starts_with("src/observability"))
        .partition(|path| path.starts_with("src/telemetry/catalogue"));
    let mut statics = Vec::new();
    for text in catalogue.iter().map(|path| read(path)) {
        for line in text.lines().map(str::trim_start) {
            let declared =
                ["Counter ", "Gauge ", "Histogram ", "Seconds "].iter().find_map(|kind| line.strip_prefix(kind));
            if let Some((name, _)) = declared.and_then(|rest| rest.split_once('<')) {
                statics.push(name.to_owned());
            }
        }
    }
    let mut rows = String::new();
    for path in users.into_iter().chain(catalogue.iter().copied().filter(|path| path.ends_with("mod.rs"))) {
        let text = read(path);
        let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for name in statics.iter().filter(|name| words.contains(&name.as_str())) {
            // Writing to a string cannot fail.
            let _ = write!(rows, "({name:?}, {:?}), ", path.display().to_string());
        }
    }
    let folder = env::var("OUT_DIR").unwrap_or_default();
    let text = format!("/// Static of a metric, a file that names it.\nconst SET_IN: &[(&str, &str)] = &[{rows}];\n");
    if let Err(error) = fs::write(Path::new(&folder).join("set_in.rs"), text) {
        println!("cargo::error=set_in.rs: {error}");
    }
}

/// The Rust files below a folder.
fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
