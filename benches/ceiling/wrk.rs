//! wrk, the loader: one thread, since it shares the cores with those that it measures.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::client::Caller;
use crate::figures::Figures;
use crate::process::{command, output};
use crate::requests::{Request, file};

/// What every script ends with.
const FIGURES: &str = include_str!("wrk/figures.lua");

/// How requests are made from the lines of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    /// Sent as they are, in turn.
    Cycle,
    /// With a new number each.
    Fresh,
    /// Claim and complete.
    Claim,
}

impl Script {
    const fn text(self) -> &'static str {
        match self {
            Self::Cycle => include_str!("wrk/cycle.lua"),
            Self::Fresh => include_str!("wrk/fresh.lua"),
            Self::Claim => include_str!("wrk/claim.lua"),
        }
    }
}

/// Sends `requests` for some seconds; files of the run go into `directory`.
///
/// # Errors
/// When wrk is missing or fails.
pub(crate) async fn run(
    directory: &Path,
    caller: &Caller,
    (script, requests): (Script, &[Request]),
    (connections, seconds): (u32, u64),
) -> Result<Figures> {
    let (program, lines) = (directory.join("script.lua"), directory.join("requests"));
    fs::write(&program, format!("{}{FIGURES}", script.text()))?;
    fs::write(&lines, file(requests))?;
    let mut wrk = command("wrk");
    wrk.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]).arg(program);
    for (name, value) in &caller.headers {
        wrk.args(["-H", &format!("{name}: {value}")]);
    }
    let text = output(wrk.arg(&caller.base).arg("--").arg(lines)).await;
    Figures::parse(&text.context("the loader (Debian: apt-get install wrk)")?)
}
