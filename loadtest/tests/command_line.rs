//! What the command line refuses, before anything is sent. Runs against a service are among those of the service.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm-loadtest"));
    for variable in ["DGM_API", "DGM_OPS", "DGM_TOKEN", "PROFILE"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().unwrap()
}

fn refused(arguments: &[&str], code: i32, why: &str) {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(why), "{arguments:?}: {said}");
}

#[test]
fn load_goes_to_this_machine_only() {
    refused(&["--host", "http://192.0.2.1:8007"], 1, "--allow-host 192.0.2.1");
    refused(&["--operations", "http://192.0.2.1:9007"], 1, "--operations http://192.0.2.1:9007");
    refused(&["--", "--websocket"], 1, "--websocket is not for goose");
}

#[test]
fn mistakes_are_told_in_a_line() {
    refused(&["--profile", "fast"], 2, "possible values: smoke, targets");
    refused(&["--users", "0"], 2, "0 is not in 1..=20000");
    refused(&["--baseline", "/no/such/report.json"], 1, "/no/such/report.json");
    // Port 9 is nobody's.
    refused(&["--operations", "http://127.0.0.1:9"], 1, "no answer from http://127.0.0.1:9/metrics");
}

#[test]
fn help_names_every_profile() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for profile in ["smoke", "targets", "spike", "soak", "stress", "write-heavy", "read-heavy", "samples"] {
        assert!(help.contains(&format!("{profile}:")), "{profile}: {help}");
    }
}
