//! How far the service stays behind what this machine can do at all: one table, from a bare axum handler to the life of
//! an improvement, measured by wrk against a `dgm serve` with a PostgreSQL and a Redis of its own. A black box but for
//! the library's private PostgreSQL. `make bench`, or `cargo bench --bench ceiling -- --help`.

mod archive;
mod bare;
mod client;
mod cpu;
mod document;
mod figures;
mod machine;
mod measure;
mod process;
mod report;
mod requests;
mod rows;
mod stack;
mod wrk;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Open files beside a row's connections.
const SPARE_FILES: u32 = 100;

/// Measures the service's ceiling and writes it into docs/PERFORMANCE.md.
#[derive(Debug, Parser)]
#[command(name = "ceiling")]
struct Arguments {
    /// Seconds of each row
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Numbers of connections at which each row is measured
    #[arg(long, value_delimiter = ',', default_values_t = [64, 500])]
    connections: Vec<u32>,
    /// Only these rows; the document is then left alone unless --output is given
    #[arg(long, value_delimiter = ',', value_parser = rows::parse)]
    rows: Vec<&'static rows::Row>,
    /// Archive entries that are read
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1000..))]
    entries: u32,
    /// SQL that fills the database before anything is served; psql runs it with the variable `scale`
    #[arg(long, value_name = "FILE")]
    fill: Option<PathBuf>,
    /// What the file of --fill finds as `scale`
    #[arg(long, default_value_t = 1, requires = "fill")]
    scale: u64,
    /// The document that gets the table
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The program that is measured
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_dgm"))]
    dgm: PathBuf,
    /// Where the database is kept for the run: a disk that is honest about syncing, not a tmpfs
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    data_dir: PathBuf,
    /// What `cargo bench` gives every bench
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare handler, with the answer of this file
    #[arg(long, hide = true, value_name = "FILE")]
    bare: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.bare {
        Some(answer) => bare::serve(answer),
        None => drive(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ceiling: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread: the driver sleeps while it measures, and takes nothing from those that are measured.
fn drive(arguments: Arguments) -> Result<()> {
    let most = arguments.connections.iter().max().context("--connections: none given")?;
    let limit = rlimit::increase_nofile_limit(u64::MAX).context("raising the limit of open files")?;
    let enough = u64::from(most + SPARE_FILES) <= limit;
    ensure!(enough, "{most} connections need more open files than the {limit} allowed: raise `ulimit -n`");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // What is dropped unfinished stops the processes that it started.
        tokio::select! {
            biased;
            interrupt = tokio::signal::ctrl_c() => { interrupt?; bail!("interrupted") }
            _ = terminate.recv() => bail!("terminated"),
            outcome = run(arguments) => outcome,
        }
    })
}

async fn run(arguments: Arguments) -> Result<()> {
    let rows = if arguments.rows.is_empty() { rows::ROWS.iter().collect() } else { arguments.rows };
    let document = match arguments.output {
        None if rows.len() < rows::ROWS.len() => None,
        None => Some(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PERFORMANCE.md").into()),
        given => given,
    };
    let fill = arguments.fill.map(|file| stack::Fill { file, scale: arguments.scale });
    let mut stack = stack::Stack::start(arguments.dgm, &arguments.data_dir, fill.as_ref()).await?;
    let facts = machine::Facts::gather(stack.directory(), &stack.psql("SHOW server_version").await?)?;
    let archive = archive::Archive::seed(&mut stack, arguments.entries).await?;
    let plan = measure::Plan { rows, connections: arguments.connections, seconds: arguments.seconds };
    let report = measure::measure(&mut stack, &archive, &plan).await?;
    let text = report.render(&facts, &plan, &archive, fill.as_ref());
    writeln!(io::stdout(), "{text}")?;
    if let Some(path) = document {
        document::write(&path, &text)?;
    }
    let faulty = report.faulty();
    ensure!(faulty.is_empty(), "rows with errors or losses: {}", faulty.join(", "));
    Ok(())
}
