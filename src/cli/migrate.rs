//! `dgm migrate`: the schema forward, back, and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::settings::Common;
use crate::db;
use crate::store::integrity;
use crate::store::migrate::{Inspection, Schema, Session, State, Step};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The database, as postgres://user:password@host:port/name; DATABASE_URL when absent
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// How many seconds to wait for another migration to end
    #[arg(long, default_value_t = 60, global = true)]
    wait: u64,
    /// Count the rows of every table before and after (up, down --yes); exit code 1 when one has fewer, unless it was dropped
    #[arg(long, global = true)]
    count_rows: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply the migrations that are missing
    Up {
        /// Stop after this version (default: the newest)
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
    /// Revert migrations, newest first; says what is lost and does nothing without --yes
    Down {
        /// The version to go back to; 0 reverts everything
        #[arg(long, value_name = "VERSION")]
        to: i64,
        /// Really do it
        #[arg(long)]
        yes: bool,
    },
    /// List the migrations and which are applied
    Status,
    /// Check that the schema is complete and the data sound; exits non-zero when not
    Verify,
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let url = match arguments.database_url {
        Some(url) => url,
        None => common.load_with_database()?.database_url()?.to_owned(),
    };
    let timeout = Duration::from_secs(arguments.wait);
    let count_rows = arguments.count_rows;
    match arguments.command {
        Command::Up { to } => {
            let mut session = Session::open(&url, timeout).await?;
            let before = count(&mut session, count_rows).await?;
            let done = session.up(to).await?;
            report(&done.steps, "nothing to apply: the schema is up to date");
            for index in done.indexes {
                say!("built {index}");
            }
            compare(before.as_ref(), &mut session).await
        }
        Command::Down { to, yes: true } => {
            let mut session = Session::open(&url, timeout).await?;
            let before = count(&mut session, count_rows).await?;
            report(&session.down(to).await?, "nothing to revert");
            compare(before.as_ref(), &mut session).await
        }
        Command::Down { to, yes: false } => preview(&mut Inspection::open(&url).await?, to).await,
        Command::Status => status(&mut Inspection::open(&url).await?).await,
        Command::Verify => verify(&mut Inspection::open(&url).await?).await,
    }
}

async fn status(inspection: &mut Inspection) -> anyhow::Result<ExitCode> {
    let schema = inspection.schema().await?;
    for migration in &schema.migrations {
        let mark = match migration.state {
            State::Changed => "CHANGED",
            State::Applied => "applied",
            State::Pending => "pending",
            State::Failed => "FAILED",
            State::Unknown => "UNKNOWN",
        };
        say!("{:04}  {mark:8} {}", migration.version, migration.description);
    }
    refuse_newer(&schema)?;
    Ok(ExitCode::SUCCESS)
}

fn refuse_newer(schema: &Schema) -> anyhow::Result<()> {
    schema.newer().map_or(Ok(()), |newer| Err(newer.into()))
}

type Counts = BTreeMap<String, i64>;

async fn count(session: &mut Session, wanted: bool) -> anyhow::Result<Option<Counts>> {
    if !wanted {
        return Ok(None);
    }
    Ok(Some(integrity::row_counts(session.connection(), None).await?.into_iter().collect()))
}

/// Shows both counts; writers and jobs may be active between them.
async fn compare(before: Option<&Counts>, session: &mut Session) -> anyhow::Result<ExitCode> {
    let (Some(before), Some(after)) = (before, count(session, before.is_some()).await?) else {
        return Ok(ExitCode::SUCCESS);
    };
    let tables: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let rows = |counts: &Counts, table| counts.get(table).map_or_else(|| "-".to_owned(), i64::to_string);
    say!("{:<28} {:>14} {:>14}", "rows", "before", "after");
    for table in tables {
        say!("{table:<28} {:>14} {:>14}", rows(before, table), rows(&after, table));
    }
    let fewer: Vec<&str> = before
        .iter()
        .filter(|(table, rows)| after.get(*table).is_some_and(|after| after < rows))
        .map(|(table, _)| table.as_str())
        .collect();
    anyhow::ensure!(fewer.is_empty(), "fewer rows than before: {}", fewer.join(", "));
    Ok(ExitCode::SUCCESS)
}

async fn preview(inspection: &mut Inspection, to: i64) -> anyhow::Result<ExitCode> {
    let schema = inspection.schema().await?;
    refuse_newer(&schema)?;
    let reverted: Vec<_> =
        schema.migrations.into_iter().filter(|m| m.state != State::Pending && m.version > to).collect();
    say!("{} migration(s) would be reverted:", reverted.len());
    for migration in reverted.iter().rev() {
        say!("  {:04} {}", migration.version, migration.description);
    }
    let tables = inspection.tables_lost(to).await?;
    say!("these tables would be lost, with their rows:{}", if tables.is_empty() { " none" } else { "" });
    for (table, rows) in integrity::row_counts(inspection.connection(), Some(&tables)).await? {
        say!("  {rows:>12} {table}");
    }
    say!("nothing was changed; add --yes to go on");
    Ok(ExitCode::FAILURE)
}

async fn verify(inspection: &mut Inspection) -> anyhow::Result<ExitCode> {
    let schema = inspection.schema().await?;
    let mut checks = judge_schema(&schema);
    // The checks read tables that only a complete schema has, and know what this binary makes.
    if schema.newer().is_none() && schema.is_complete() {
        checks.extend(judge_data(inspection).await);
    }
    for (check, outcome) in &checks {
        match outcome {
            Ok(()) => say!("ok    {check}"),
            Err(what) => say!("FAIL  {check}: {what}"),
        }
    }
    let sound = checks.iter().all(|(_, outcome)| outcome.is_ok());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was checked, and what is wrong with it.
pub(super) type Check = (String, Result<(), String>);

/// What is wrong with the history of migrations.
pub(super) fn judge_schema(schema: &Schema) -> Vec<Check> {
    if let Some(newer) = schema.newer() {
        return vec![("schema".to_owned(), Err(newer.to_string()))];
    }
    let wrong = schema.migrations.iter().filter_map(|migration| {
        let what = match migration.state {
            State::Changed => "changed since it was applied",
            State::Pending => "not applied",
            State::Failed => "failed when it was applied",
            State::Applied | State::Unknown => return None,
        };
        Some((format!("migration {:04} {}", migration.version, migration.description), Err(what.to_owned())))
    });
    wrong.collect()
}

/// The integrity checks of a complete schema.
pub(super) async fn judge_data(inspection: &mut Inspection) -> Vec<Check> {
    let findings = integrity::verify(inspection.connection()).await.into_iter();
    let outcome = |offenders: Result<Vec<String>, db::Error>| match offenders {
        Ok(offenders) if offenders.is_empty() => Ok(()),
        Ok(offenders) => Err(offenders.join(", ")),
        Err(error) => Err(format!("cannot be checked: {}", error.reason())),
    };
    findings.map(|finding| (finding.check.to_owned(), outcome(finding.offenders))).collect()
}

fn report(steps: &[Step], none: &str) {
    if steps.is_empty() {
        say!("{none}");
    }
    for step in steps {
        let took = step.took.as_secs_f64() * 1000.0;
        say!("{:4} {:04} {} ({took:.1} ms)", step.direction.as_str(), step.version, step.description);
    }
}
