//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Parser, ValueEnum};

use crate::profile::{Asked, Name};

/// Drives a running dgm-service as its users do, and says target by target whether it held
#[derive(Debug, Parser)]
#[command(name = "dgm-loadtest", version, after_help = AFTER)]
pub(crate) struct Arguments {
    /// How much load of which kind, and what it is held to
    #[arg(long, value_enum, default_value = "targets", env = "PROFILE")]
    pub(crate) profile: Name,
    /// Base address of the service
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8007", env = "DGM_API")]
    pub(crate) host: String,
    /// Address of its operations listener, for /metrics
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9007", env = "DGM_OPS")]
    pub(crate) operations: String,
    /// A host that may be loaded though it is not this machine; whoever names it answers for it
    #[arg(long = "allow-host", value_name = "NAME")]
    pub(crate) allowed_hosts: Vec<String>,
    /// Most users at a time, instead of the profile's
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    users: Option<u32>,
    /// Seconds of all phases together, instead of the profile's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Archive entries made before, instead of the profile's
    #[arg(long, env = "DGM_LOADTEST_ENTRIES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    entries: Option<u32>,
    /// How many of them are read, by popularity (Zipf, exponent 0.99), instead of the profile's
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    population: Option<u32>,
    /// Most requests a second of all users together, instead of the profile's
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Requests a second of the open loop, instead of the profile's; 0 for none
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    open_rate: Option<u32>,
    /// Seconds of each of the two laps of the bare handler, instead of the profile's; 0 for none
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=600))]
    bare_seconds: Option<u64>,
    /// How many machines load at the same time, this being one: users, rates and what throughput is wanted are divided by it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    machines: u32,
    /// When to begin, once the archive is filled (RFC 3339): for several machines
    #[arg(long, value_name = "TIME")]
    pub(crate) start_at: Option<DateTime<Utc>>,
    /// Where report.html, report.md and report.json go
    #[arg(long, value_name = "DIR", default_value = "target/loadtest")]
    pub(crate) output: PathBuf,
    /// How the verdict is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// report.json of an earlier run, to be held against
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// How much worse than the baseline is allowed, as a share
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub(crate) allowed_regression: f64,
    /// Data directory of the database, when it is on this machine and `DGM_POSTGRES_PID` does not name its server: its disk is watched
    #[arg(long, value_name = "DIR", env = "DGM_POSTGRES_DATA")]
    pub(crate) data_directory: Option<PathBuf>,
    /// Leave the rows of the run behind
    #[arg(long)]
    pub(crate) keep: bool,
    /// Options of goose's own, after `--`: `-- --scenarios worker --report-file goose.html`
    #[arg(last = true, value_name = "GOOSE")]
    pub(crate) goose: Vec<String>,
    /// Be the bare handler, with the answer of this file
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) bare: Option<PathBuf>,
}

/// What goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The verdict, for a terminal
    Text,
    /// What is in report.md
    Markdown,
    /// What is in report.json
    Json,
}

const AFTER: &str = "\
Environment:
  DGM_TOKEN         bearer token, for a service that asks for one
  DGM_SERVER_PID, DGM_POSTGRES_PID, DGM_REDIS_PID
                    processes on this machine whose processor time is told; PostgreSQL's names the disk to watch, too
  DGM, DATABASE_URL with both, the rows of the run are removed by `dgm` at its end
  DATABASE_URL      PostgreSQL is asked what its sessions wait for (psql), as the role of the service

The exit code is 0 when every target that the profile is held to was met, 1 when one was missed or not measured, 2 when
the command line is wrong, 3 when targets of latency alone were missed, and only because of requests during which the disk
paused. docs/LOADTEST.md says how to read the report.";

impl Arguments {
    /// What is to differ from the profile.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            users: self.users.map(|users| users as usize),
            seconds: self.seconds,
            entries: self.entries,
            population: self.population,
            rate: self.rate,
            open_rate: self.open_rate,
            bare_seconds: self.bare_seconds,
            machines: self.machines,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_whole() {
        Arguments::command().debug_assert();
        let arguments = Arguments::parse_from(["dgm-loadtest", "--users", "7", "--", "--scenarios", "worker"]);
        assert_eq!(arguments.asked().users, Some(7));
        assert_eq!(arguments.goose, ["--scenarios", "worker"]);
        assert!(Arguments::try_parse_from(["dgm-loadtest", "--users", "0"]).is_err());
    }
}
