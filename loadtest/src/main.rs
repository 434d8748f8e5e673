//! Load test of the HTTP contract of dgm-service, from outside: see `docs/LOADTEST.md`.

mod attack;
mod bare;
mod caller;
mod cleanup;
mod cli;
mod database;
mod disk;
mod facts;
mod figures;
// The one file that the load test shares with the server: constants.
#[allow(dead_code, unreachable_pub, reason = "the server needs all of them, and in other places")]
#[path = "../../src/observability/objectives.rs"]
mod objectives;
mod open;
mod operation;
mod plan;
mod processes;
mod profile;
mod progress;
mod record;
mod report;
mod run;
mod seed;
mod steps;
mod target;
mod verdict;
mod watch;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

use crate::cli::Arguments;
use crate::verdict::Conclusion;

/// As the service has it: what the load test saves, the service gets.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.bare {
        Some(answer) => bare::serve(answer).await.map(|()| Conclusion::Passed),
        None => run::run(&arguments).await,
    };
    match outcome {
        Ok(conclusion) => ExitCode::from(conclusion.exit_code()),
        Err(error) => {
            // A reader that is gone is no reason to fail otherwise than by the exit code.
            let _ = writeln!(io::stderr(), "dgm-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
