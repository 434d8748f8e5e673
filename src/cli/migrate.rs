//! `dgm migrate`: the schema forward, back, and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::settings::Common;
use crate::store::integrity;
use crate::store::migrate::{Session, Step};

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
    let mut session = Session::open(&url, Duration::from_secs(arguments.wait)).await?;
    let moves = matches!(arguments.command, Command::Up { .. } | Command::Down { yes: true, .. });
    let before = if moves && arguments.count_rows { Some(count(&mut session).await?) } else { None };
    match arguments.command {
        Command::Up { to } => {
            let done = session.up(to).await?;
            report(&done.steps, "nothing to apply: the schema is up to date");
            for index in done.indexes {
                say!("built {index}");
            }
        }
        Command::Down { to, yes: false } => return preview(&mut session, to).await,
        Command::Down { to, yes: true } => report(&session.down(to).await?, "nothing to revert"),
        Command::Status => {
            for state in session.status().await? {
                let mark = match (state.applied, state.drifted) {
                    (_, true) => "CHANGED",
                    (true, false) => "applied",
                    (false, false) => "pending",
                };
                say!("{:04}  {mark:8} {}", state.version, state.description);
            }
        }
        Command::Verify => return verify(&mut session).await,
    }
    match before {
        Some(before) => compare(&before, &count(&mut session).await?),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn count(session: &mut Session) -> anyhow::Result<BTreeMap<String, i64>> {
    Ok(integrity::row_counts(session.connection(), None).await?.into_iter().collect())
}

/// Shows both counts; writers and jobs may be at work between them.
fn compare(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> anyhow::Result<ExitCode> {
    let tables: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let rows = |counts: &BTreeMap<String, i64>, table| counts.get(table).map_or_else(|| "-".to_owned(), i64::to_string);
    say!("{:<28} {:>14} {:>14}", "rows", "before", "after");
    for table in tables {
        say!("{table:<28} {:>14} {:>14}", rows(before, table), rows(after, table));
    }
    let fewer: Vec<&str> = before
        .iter()
        .filter(|(table, rows)| after.get(*table).is_some_and(|after| after < rows))
        .map(|(table, _)| table.as_str())
        .collect();
    anyhow::ensure!(fewer.is_empty(), "fewer rows than before: {}", fewer.join(", "));
    Ok(ExitCode::SUCCESS)
}

async fn preview(session: &mut Session, to: i64) -> anyhow::Result<ExitCode> {
    let going: Vec<_> = session.status().await?.into_iter().filter(|s| s.applied && s.version > to).collect();
    say!("{} migration(s) would be reverted:", going.len());
    for state in going.iter().rev() {
        say!("  {:04} {}", state.version, state.description);
    }
    let tables = session.tables_lost(to).await?;
    say!("these tables would be lost, with their rows:{}", if tables.is_empty() { " none" } else { "" });
    for (table, rows) in integrity::row_counts(session.connection(), Some(&tables)).await? {
        say!("  {rows:>12} {table}");
    }
    say!("nothing was changed; add --yes to go on");
    Ok(ExitCode::FAILURE)
}

async fn verify(session: &mut Session) -> anyhow::Result<ExitCode> {
    let verdicts = judge(session).await?;
    for (check, verdict) in &verdicts {
        match verdict {
            Ok(()) => say!("ok    {check}"),
            Err(what) => say!("FAIL  {check}: {what}"),
        }
    }
    let sound = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was checked, and what is wrong with it.
pub(super) async fn judge(session: &mut Session) -> anyhow::Result<Vec<(String, Result<(), String>)>> {
    let mut verdicts = Vec::new();
    let states = session.status().await?;
    let complete = states.iter().all(|state| state.applied);
    for state in states {
        if !state.applied || state.drifted {
            let what = if state.drifted { "changed since it was applied" } else { "not applied" };
            verdicts.push((format!("migration {:04} {}", state.version, state.description), Err(what.to_owned())));
        }
    }
    // The checks read tables that only a complete schema has.
    if complete {
        for finding in integrity::verify(session.connection()).await? {
            let sound = finding.offenders.is_empty();
            verdicts.push((finding.check.to_owned(), if sound { Ok(()) } else { Err(finding.offenders.join(", ")) }));
        }
    }
    Ok(verdicts)
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
