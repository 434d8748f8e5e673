//! The command line, one file per subcommand.

/// `println!` that does not panic when the reader of a pipe is gone (`dgm ... | head`, a closed terminal).
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod describe;
mod dev;
mod diagnosis;
mod doctor;
mod export;
mod files;
mod forget;
mod healthcheck;
mod import;
mod import_samples;
mod interrupt;
mod migrate;
mod observability;
mod operate;
mod serve;
mod settings;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Archive, improvement queue and performance metrics for self-improving agent loops.
#[derive(Debug, Parser)]
#[command(name = "dgm", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    common: settings::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on a private PostgreSQL that is started and stopped with the command
    Dev(dev::Arguments),
    /// Run the service against DATABASE_URL and REDIS_URL; callers must show an API token
    Serve(serve::Arguments),
    /// Move the database's schema forward or back, and check it
    Migrate(migrate::Arguments),
    /// List the scheduled jobs, or run one now
    #[command(subcommand)]
    Job(operate::JobCommand),
    /// Look at the monthly partitions of the samples, or make those to come
    #[command(subcommand)]
    Partition(operate::PartitionCommand),
    /// Verify artifacts, back them and exported months up, restore them; initialise targets
    #[command(subcommand)]
    Files(files::FilesCommand),
    /// Import a run of OpenEvolve, ShinkaEvolve or the Darwin Gödel Machine into the archive, or an exported month of samples
    Import(import::Arguments),
    /// Write a service's archive as JSON lines
    Export(export::Arguments),
    /// Remove services whole, with their entries, improvements and samples, as after an experiment
    Forget(forget::Arguments),
    /// Make, list and revoke API tokens
    Token(token::Arguments),
    /// Print the OpenAPI document of the API
    Openapi,
    /// Print the catalogue of metrics
    Metrics(describe::MetricsArguments),
    /// Write the alerts, rules and dashboards of this version, for your addresses
    Observability(observability::Arguments),
    /// Print what to do about an alert
    Runbook {
        /// Its name; without one, all are listed. `README` is their index, `oncall.sh` the commands that they use
        alert: Option<String>,
    },
    /// Print the effective configuration, secrets redacted
    Config {
        /// Print the commented defaults instead, as a start for a file
        #[arg(long)]
        defaults: bool,
    },
    /// Check the database, its server and replica, schema, privileges, clock, Redis, artifacts, exports and tracing: one line each, exit
    /// code 1 when one is not well
    Doctor(doctor::Arguments),
    /// Ask the service on this machine whether it lives; for a container's HEALTHCHECK
    Healthcheck,
}

/// Runs the command that the process was called with.
pub async fn run() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let has_own_database = matches!(command, Command::Dev(_));
    let outcome = match command {
        Command::Dev(arguments) => dev::run(&common, arguments).await,
        Command::Serve(arguments) => serve::run(&common, arguments).await,
        Command::Migrate(arguments) => migrate::run(&common, arguments).await,
        Command::Job(command) => operate::job(&common, command).await,
        Command::Partition(command) => operate::partition(&common, command).await,
        Command::Files(command) => files::run(&common, command).await,
        Command::Import(arguments) => import::run(&common, arguments).await,
        Command::Export(arguments) => export::run(&common, arguments).await,
        Command::Forget(arguments) => forget::run(&common, arguments).await,
        Command::Token(arguments) => token::run(&common, arguments).await,
        Command::Openapi => describe::openapi(),
        Command::Metrics(arguments) => describe::metrics(&arguments),
        Command::Observability(arguments) => observability::run(arguments),
        Command::Runbook { alert } => observability::runbook(alert.as_deref()),
        Command::Config { defaults } => describe::config(&common, defaults),
        Command::Doctor(arguments) => doctor::run(&common, &arguments).await,
        Command::Healthcheck => healthcheck::run(&common),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dgm: {}", diagnosis::explain((!has_own_database).then_some(&common), &error).await);
            ExitCode::FAILURE
        }
    }
}
