//! The command line, one file per subcommand.

/// `println!` that does not panic when the reader of a pipe is gone (`dgm ... | head`, a closed terminal).
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod dev;
mod migrate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Archive, improvement queue and performance metrics for self-improving agent loops.
#[derive(Debug, Parser)]
#[command(name = "dgm", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on a private PostgreSQL that is started and stopped with the command
    Dev(dev::Arguments),
    /// Move the database's schema forward or back, and check it
    Migrate(migrate::Arguments),
}

/// Runs the command that the process was called with.
pub async fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Migrate(arguments) => migrate::run(arguments).await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dgm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
