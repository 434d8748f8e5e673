//! Processes whose clock is wrong, by libfaketime. Their monotonic clock is right, as it is on a machine whose clock is set wrong.

use std::path::Path;

/// The variables that set the clock of a process off by so much, such as `+400d`.
pub(crate) fn off_by(offset: &str) -> Vec<(&'static str, String)> {
    preload([("FAKETIME", offset.to_owned())])
}

/// The variables that set the clock of a process off by what a file says.
pub(crate) fn off_by_file(file: &Path) -> Vec<(&'static str, String)> {
    preload([("FAKETIME_TIMESTAMP_FILE", file.display().to_string()), ("FAKETIME_CACHE_DURATION", "1".to_owned())])
}

fn preload<const N: usize>(offset: [(&'static str, String); N]) -> Vec<(&'static str, String)> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|library| library.exists()).expect("libfaketime; `make setup` installs it");
    // The second has two names in its versions.
    let monotonic = ["FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"].map(|name| (name, "1".to_owned()));
    let library = ("LD_PRELOAD", library.display().to_string());
    offset.into_iter().chain(monotonic).chain([library]).collect()
}
