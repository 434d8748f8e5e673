//! Tells the binary what it was built from.

#![allow(clippy::disallowed_macros, reason = "cargo reads a build script's standard output")]

use std::process::Command;

fn main() {
    let say = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
        output.and_then(|output| String::from_utf8(output.stdout).ok()).map(|text| text.trim().to_owned())
    };
    // An image is built without .git; its build passes the revision.
    let revision = std::env::var("DGM_REVISION").ok().or_else(|| say("git", &["rev-parse", "--short=12", "HEAD"]));
    let rustc = say(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()), &["--version"]);
    println!("cargo::rustc-env=DGM_REVISION={}", revision.unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rustc-env=DGM_RUSTC={}", rustc.unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rerun-if-env-changed=DGM_REVISION");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=migrations");
}
