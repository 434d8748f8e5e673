//! `dgm job`, `dgm partition`: what operators do by hand.

use std::process::ExitCode;

use anyhow::anyhow;
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::diagnosis;
use super::settings::Common;
use crate::domain::job::RunOutcome;
use crate::domain::partition::{PartitionState, horizon};
use crate::jobs::{self, Job, Outcome, Runner, Schedules, Scope, instance};
use crate::service::partitions::Dropped;

#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// The jobs, their schedules and their last run
    List,
    /// Run a job now; exit code 2 when another process is at it
    Run {
        /// Its name
        name: String,
    },
    /// Note a run that ended now of a job outside the service (backup, backup-files, restore-drill), for its metrics and alerts
    Report {
        /// Its name
        name: String,
        /// When it started (RFC 3339)
        #[arg(long, value_name = "TIME")]
        started: DateTime<Utc>,
        /// How it ended
        #[arg(long, value_enum)]
        outcome: Reported,
        /// What it did, or why it failed
        #[arg(long, value_name = "TEXT", default_value = "")]
        details: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Reported {
    /// It did what it should
    #[value(alias = "success")]
    Ok,
    /// It did not
    #[value(alias = "failure")]
    Failed,
}

#[derive(Debug, Subcommand)]
pub(super) enum PartitionCommand {
    /// Every partition with its bounds, rows (by the planner's estimate), size and hold
    Status,
    /// Make the partitions of this month and of the months to come
    Ensure,
    /// End the hold of an imported month: retention drops it when it is older than the window
    Release {
        /// The month, as in 2025-10
        #[arg(value_parser = month)]
        month: NaiveDate,
    },
    /// Export and drop the partitions of months that are no longer kept, as the job enforce-retention does
    /// (`samples.retention_months`, `samples.export_url`)
    Drop {
        /// Say which and stop
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Drop them; without it nothing is dropped
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn job(common: &Common, command: JobCommand) -> anyhow::Result<ExitCode> {
    let (config, services) = common.services()?;
    let schedules = Schedules::parse(&config.jobs.schedules).map_err(anyhow::Error::msg)?;
    match command {
        JobCommand::List => {
            let jobs = Runner::new(services, schedules, CancellationToken::new()).list().await?;
            say!("{:<20} {:<16} {:<20} {:<36} purpose", "job", "schedule (UTC)", "next run", "last run");
            for job in jobs {
                let last = job.last_run.map_or_else(
                    || "never".to_owned(),
                    |run| {
                        let outcome = run.outcome.map_or("running", RunOutcome::as_str);
                        format!("{} {outcome}", run.started_at.format("%Y-%m-%dT%H:%M:%SZ"))
                    },
                );
                let last = if job.scope == Scope::Each { "in every process".to_owned() } else { last };
                let next = job.next_run.map_or_else(String::new, |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
                let schedule = if job.scope == Scope::Outside { "reported" } else { &job.schedule };
                say!("{:<20} {schedule:<16} {next:<20} {last:<36} {}", job.name, job.purpose);
            }
            Ok(ExitCode::SUCCESS)
        }
        JobCommand::Run { name } => {
            let job = Job::named(&name).map_err(anyhow::Error::msg)?;
            let runner = Runner::new(services, schedules, CancellationToken::new());
            match runner.run(job, None).await? {
                Outcome::Success(done) => {
                    say!("{name}: {done}");
                    Ok(ExitCode::SUCCESS)
                }
                Outcome::Skipped => {
                    say!("{name}: another process is at it");
                    Ok(ExitCode::from(2))
                }
                Outcome::Failure(reason) => Err(anyhow!("{name} on {}: {reason}", diagnosis::database(&config))),
            }
        }
        JobCommand::Report { name, started, outcome, details } => {
            let job = jobs::reported(&name).map_err(anyhow::Error::msg)?;
            let outcome = match outcome {
                Reported::Ok => RunOutcome::Success,
                Reported::Failed => RunOutcome::Failure,
            };
            services.jobs.report(job, instance(), started, outcome, &details).await?;
            say!("{name}: {} since {started}", outcome.as_str());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn month(text: &str) -> Result<NaiveDate, String> {
    format!("{text}-01").parse().map_err(|_| "must be a year and a month, as in 2025-10".to_owned())
}

pub(super) async fn partition(common: &Common, command: PartitionCommand) -> anyhow::Result<ExitCode> {
    let (config, services) = common.services()?;
    match command {
        PartitionCommand::Status => {
            let partitions = services.partitions.list().await?;
            say!("{:<36} {:>12} {:>14}  {:<10} bounds", "partition", "rows", "bytes", "state");
            for partition in &partitions {
                let rows = if partition.rows < 0 { "unknown".to_owned() } else { partition.rows.to_string() };
                let expired = partition.state == PartitionState::Attached && services.partitions.is_expired(partition);
                let state = if expired { "expired" } else { partition.state.as_str() };
                let hold = match partition.held_until {
                    Some(until) if partition.held => format!("  held until {}", until.format("%Y-%m-%dT%H:%M:%SZ")),
                    _ => String::new(),
                };
                say!(
                    "{:<36} {rows:>12} {:>14}  {state:<10} {}{hold}",
                    partition.name,
                    partition.bytes,
                    partition.bounds
                );
            }
            say!("");
            say!(
                "horizon: {}",
                horizon(&partitions).map_or_else(|| "none".to_owned(), |end| format!("samples up to {end} (UTC)"))
            );
            let missing: Vec<_> =
                services.partitions.missing_months(&partitions).iter().map(ToString::to_string).collect();
            if !missing.is_empty() {
                say!("missing: {}; `dgm partition ensure` makes them", missing.join(", "));
            }
        }
        PartitionCommand::Release { month } => {
            let month_text = month.format("%Y-%m");
            if services.partitions.release(month).await? {
                say!("{month_text}: no longer held");
            } else {
                say!("{month_text}: it is not held");
            }
        }
        PartitionCommand::Drop { dry_run, yes } => {
            let expired = services.partitions.expired().await?;
            if expired.is_empty() {
                say!("nothing to drop: samples are kept for {} months", config.samples.retention_months);
            } else if !yes {
                let first = match config.samples.export_url.as_str() {
                    "" => "without an export: samples.export_url is not set".to_owned(),
                    url => format!("after its export to {url}"),
                };
                for partition in &expired {
                    say!("would drop {} ({} bytes), {first}", partition.name, partition.bytes);
                }
                if !dry_run {
                    say!("nothing was dropped; add --yes to go on");
                    return Ok(ExitCode::FAILURE);
                }
            } else {
                let done = services.partitions.enforce_retention().await?;
                for Dropped { name, export } in &done.dropped {
                    say!(
                        "dropped {name}{}",
                        export.as_ref().map_or_else(String::new, |place| format!(", exported to {place}"))
                    );
                }
                for (name, reason) in &done.kept {
                    say!("kept {name}: {reason}");
                }
                if let Some((name, reason)) = done.failed {
                    let database = diagnosis::database(&config);
                    return Err(anyhow!("{database}: {name} is not dropped, nor what comes after it: {reason}"));
                }
            }
        }
        PartitionCommand::Ensure => {
            let made = services.partitions.ensure().await?;
            say!("{made} partitions made");
        }
    }
    Ok(ExitCode::SUCCESS)
}
