//! `dgm job`, `dgm partition`: what operators do by hand.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use super::settings::Common;
use crate::jobs::{JOBS, Job, Outcome, Runner};

#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// The jobs, their schedules and their last run
    List,
    /// Run a job now; exit code 2 when another process is at it
    Run {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PartitionCommand {
    /// Every partition with its bounds, rows (by the planner's estimate) and size
    Status,
    /// Make the partitions of this month and of the months to come
    Ensure,
}

pub(super) async fn job(common: &Common, command: JobCommand) -> anyhow::Result<ExitCode> {
    let (config, service) = common.service()?;
    match command {
        JobCommand::List => {
            say!("{:<18} {:<16} {:<36} purpose", "job", "schedule (UTC)", "last run");
            for job in JOBS {
                let last = service.job_runs(Some(job.name), 1).await?;
                let last = last.first().map_or_else(
                    || "never".to_owned(),
                    |run| {
                        let outcome = run.outcome.as_deref().unwrap_or("running");
                        format!("{} {outcome}", run.started_at.format("%Y-%m-%dT%H:%M:%SZ"))
                    },
                );
                say!("{:<18} {:<16} {last:<36} {}", job.name, job.schedule, job.purpose);
            }
            Ok(ExitCode::SUCCESS)
        }
        JobCommand::Run { name } => {
            let known = || JOBS.iter().map(|job| job.name).collect::<Vec<_>>().join(", ");
            let job = Job::named(&name).ok_or_else(|| anyhow!("no job {name:?}: {}", known()))?;
            let runner = Runner::new(service, config.samples.premake_months, CancellationToken::new());
            match runner.run(job).await? {
                Outcome::Success(done) => {
                    say!("{name}: {done}");
                    Ok(ExitCode::SUCCESS)
                }
                Outcome::Skipped => {
                    say!("{name}: another process is at it");
                    Ok(ExitCode::from(2))
                }
                Outcome::Failure(reason) => Err(anyhow!("{name}: {reason}")),
            }
        }
    }
}

pub(super) async fn partition(common: &Common, command: PartitionCommand) -> anyhow::Result<ExitCode> {
    let (config, service) = common.service()?;
    match command {
        PartitionCommand::Status => {
            say!("{:<36} {:>12} {:>14}  bounds", "partition", "rows", "bytes");
            for partition in service.partitions().await? {
                let rows = if partition.rows < 0 { "unknown".to_owned() } else { partition.rows.to_string() };
                say!("{:<36} {rows:>12} {:>14}  {}", partition.name, partition.bytes, partition.bounds);
            }
        }
        PartitionCommand::Ensure => {
            let made = service.ensure_partitions(config.samples.premake_months).await?;
            say!("{made} partitions made");
        }
    }
    Ok(ExitCode::SUCCESS)
}
