//! `dgm import`: a run of another program into the archive, or an exported month of samples.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::import_samples;
use super::settings::Common;
use crate::domain::validation::{Check, MAX_NAME};
use crate::interchange::{self, Format, Mapped, Options, Scale, Score, Severity};

/// Problems of one kind that are told one by one; the rest are counted.
const TOLD: usize = 20;
/// Days that an imported month is held.
const KEEP_DAYS: u16 = 30;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What wrote the run: openevolve, shinka or dgm; jsonl, for what `dgm export` wrote; samples, for a month that retention
    /// exported (`samples.export_url`)
    format: Source,
    /// openevolve: a checkpoint or output folder; shinka: the database or its folder; dgm: the run's folder; jsonl: a file; samples: a
    /// file, `file:///folder/file` or `s3://bucket/prefix/file`
    path: PathBuf,
    /// For samples: days that retention leaves the month alone. A hold that lasts longer stays
    #[arg(long, value_name = "DAYS", default_value_t = KEEP_DAYS, value_parser = clap::value_parser!(u16).range(1..=3650))]
    keep: u16,
    /// The service (agent) that the entries belong to; the same run under the same name is imported once. An export names
    /// its own
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
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

/// What can be imported.
#[derive(Debug, Clone, Copy)]
enum Source {
    Peer(Format),
    Export,
    Samples,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "jsonl" => Ok(Self::Export),
            "samples" => Ok(Self::Samples),
            _ => {
                text.parse().map(Self::Peer).map_err(|_| "must be openevolve, shinka, dgm, jsonl or samples".to_owned())
            }
        }
    }
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Source::Samples = arguments.format {
        if arguments.service.is_some() || arguments.score.is_some() || arguments.compliance.is_some() {
            bail!("samples have their own services and values: leave --service, --score and --compliance out");
        }
        let place = arguments.path.to_str().context("the path is not UTF-8")?;
        return import_samples::run(common, place, arguments.keep).await;
    }
    let (_, services) = common.services()?;
    let reading = ProgressBar::new_spinner().with_message(format!("reading {}", arguments.path.display()));
    reading.enable_steady_tick(std::time::Duration::from_millis(100));
    let strict = arguments.strict;
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} entries, {per_sec}, {eta} left")?);
    let progress = |handled: usize| bar.set_position(handled as u64);
    let done = match (arguments.format, arguments.service.clone()) {
        (Source::Peer(format), Some(name)) => {
            let mut check = Check::default();
            check.name("service", &name);
            if check.done().is_err() {
                bail!("--service must have 1 to {MAX_NAME} characters, none of them a control character");
            }
            let mapped = tokio::task::spawn_blocking(move || read_run(format, arguments)).await??;
            reading.finish_and_clear();
            tell(&mapped.problems, strict)?;
            bar.set_length(mapped.entries.len() as u64);
            services.runs.import(format, &name, mapped, progress).await
        }
        (Source::Peer(_), None) => bail!("--service NAME is required: the service (agent) that the entries belong to"),
        (Source::Samples, _) => bail!("samples are imported above"),
        (Source::Export, Some(_)) => bail!("an export names the service of its entries itself; leave --service out"),
        (Source::Export, None) => {
            let now = services.clock.timestamp();
            let export = tokio::task::spawn_blocking(move || interchange::jsonl::read(&arguments.path, now)).await??;
            reading.finish_and_clear();
            tell(&export.problems, strict)?;
            bar.set_length(export.entries.len() as u64);
            services.runs.import_export(export, progress).await
        }
    };
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
        let best = best.map_or_else(|| "-".to_owned(), |best| format!("{best:.4}"));
        say!("{generation:>10}  {count:>7}  {best:>8}");
    }
    Ok(ExitCode::SUCCESS)
}

fn read_run(format: Format, arguments: Arguments) -> anyhow::Result<Mapped> {
    let run = interchange::read(format, &arguments.path)?;
    let options = Options {
        service: arguments.service.unwrap_or_default(),
        score: arguments.score.map_or(Score::Fitness, Score::Field),
        scale: arguments.scale,
        compliance: arguments.compliance,
        problem_statement: arguments.problem_statement,
    };
    Ok(interchange::map(format, run, &options)?)
}

/// Tells problems on stderr.
fn tell(problems: &[interchange::Problem], strict: bool) -> anyhow::Result<()> {
    for (severity, word) in [(Severity::Skipped, "skipped"), (Severity::Note, "note")] {
        let of_kind: Vec<_> = problems.iter().filter(|problem| problem.severity == severity).collect();
        for problem in of_kind.iter().take(TOLD) {
            eprintln!("{word}: {problem}");
        }
        if of_kind.len() > TOLD {
            eprintln!("{word}: and {} more", of_kind.len() - TOLD);
        }
        if strict && severity == Severity::Skipped && !of_kind.is_empty() {
            bail!("{} parts could not be read; nothing was imported (--strict)", of_kind.len());
        }
    }
    Ok(())
}
