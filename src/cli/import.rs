//! `dgm import`: a run of another program into the archive.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::settings::Common;
use crate::domain::validation::{Check, MAX_NAME};
use crate::interchange::{self, Format, Options, Scale, Score, Severity};

/// Problems of one kind that are told one by one; the rest are counted.
const TOLD: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The program that wrote the run: openevolve, shinka or dgm
    format: Format,
    /// openevolve: a checkpoint or output folder; shinka: the database or its folder; dgm: the run's folder
    path: PathBuf,
    /// The service (agent) that the entries belong to; the same run under the same name is imported once
    #[arg(long, value_name = "NAME")]
    service: String,
    /// Metric that becomes the accuracy score; the program's own fitness when absent
    #[arg(long, value_name = "FIELD")]
    score: Option<String>,
    /// How scores come to lie in 0..1: identity, min-max or divide:X
    #[arg(long, default_value = "identity")]
    scale: Scale,
    /// Metric that becomes the compliance score; when absent 1 for what ran, 0 for what failed
    #[arg(long, value_name = "FIELD")]
    compliance: Option<String>,
    /// What the run was meant to solve, where it does not say so itself
    #[arg(long, value_name = "TEXT")]
    problem_statement: Option<String>,
    /// Stop at the first part of the run that cannot be read; then nothing is imported
    #[arg(long)]
    strict: bool,
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut check = Check::default();
    check.name("service", &arguments.service);
    if check.done().is_err() {
        bail!("--service must have 1 to {MAX_NAME} characters, none of them a control character");
    }
    let (_, service) = common.service()?;
    let (format, name, strict) = (arguments.format, arguments.service.clone(), arguments.strict);
    let reading = ProgressBar::new_spinner().with_message(format!("reading {}", arguments.path.display()));
    reading.enable_steady_tick(std::time::Duration::from_millis(100));
    let mapped = tokio::task::spawn_blocking(move || {
        let run = interchange::read(format, &arguments.path)?;
        let options = Options {
            service: arguments.service,
            score: arguments.score.map_or(Score::Fitness, Score::Field),
            scale: arguments.scale,
            compliance: arguments.compliance,
            problem_statement: arguments.problem_statement,
        };
        anyhow::Ok(interchange::map(format, run, &options)?)
    })
    .await?;
    reading.finish_and_clear();
    let mapped = mapped?;
    let skipped = tell(&mapped.problems);
    if strict && skipped > 0 {
        bail!("{skipped} parts could not be read; nothing was imported (--strict)");
    }
    let bar = ProgressBar::new(mapped.entries.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} entries, {per_sec}, {eta} left")?);
    let done = service.import(format, &name, mapped, |handled| bar.set_position(handled as u64)).await;
    bar.finish_and_clear();
    let done = done?;
    say!("{} entries read, {} new, {} known", done.entries, done.new, done.entries - done.new);
    let roots = if done.evicted_parents == 0 {
        String::new()
    } else {
        format!(
            "; {} entries have a parent that the run no longer holds ({} of them found in the archive)",
            done.evicted_parents, done.relinked
        )
    };
    say!("depth of the tree {}{roots}", done.depth);
    say!("{:>10}  {:>7}  {:>8}", "generation", "entries", "best");
    for (generation, (count, best)) in &done.generations {
        say!("{generation:>10}  {count:>7}  {best:>8.4}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells problems on stderr; answers how many parts were skipped.
fn tell(problems: &[interchange::Problem]) -> usize {
    let mut skipped = 0;
    for severity in [Severity::Skipped, Severity::Note] {
        let of_kind: Vec<_> = problems.iter().filter(|problem| problem.severity == severity).collect();
        let word = if severity == Severity::Skipped { "skipped" } else { "note" };
        for problem in of_kind.iter().take(TOLD) {
            eprintln!("{word}: {problem}");
        }
        if of_kind.len() > TOLD {
            eprintln!("{word}: and {} more", of_kind.len() - TOLD);
        }
        if severity == Severity::Skipped {
            skipped = of_kind.len();
        }
    }
    skipped
}
