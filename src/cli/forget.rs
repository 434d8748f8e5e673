//! `dgm forget`: what an experiment left behind.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::interrupt::{INTERRUPTED, interrupted};
use super::settings::Common;
use crate::domain::purge::{ServicePattern, Survey};
use crate::service::purge::{Removed, Unfinished, VISIBLE_FOR};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of a service, or the beginning of names and a `*`: at least 8 characters before it, in quotes for the shell's sake
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<ServicePattern>,
    /// Remove them; without it they are only counted
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (_, services) = common.services()?;
    let survey = services.purge.survey(&arguments.services).await?;
    for table in &survey.apart {
        eprintln!("note: {table} is no month of the samples, or no more; what is in it is not looked at");
    }
    if survey.rows() == 0 {
        say!("nothing to remove: no entries, improvements or samples of such a service");
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        table(&survey);
    }
    if let Some(reasons) = survey.refusal() {
        bail!("nothing was removed: {reasons}");
    }
    if !arguments.yes {
        say!("nothing was removed; add --yes to go on");
        return Ok(ExitCode::FAILURE);
    }

    let started = Instant::now();
    let bar = ProgressBar::new(survey.rows().unsigned_abs());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {per_sec}, {eta} left")?);
    let progress = |done: &Removed| bar.set_position(done.entries + done.improvements + done.samples);
    let (removed, outcome) = services.purge.remove(&survey, &interrupted(), progress).await;
    bar.finish_and_clear();
    let Removed { entries, improvements, events, samples } = removed;
    say!(
        "removed {entries} entries, {improvements} improvements with {events} events, {samples} samples in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    match outcome {
        Ok(()) => {}
        Err(Unfinished::Stopped) => {
            eprintln!("dgm: stopped before the end; the same command goes on where it was");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(Unfinished::Failed(error)) => {
            bail!("stopped before the end, the same command goes on where it was: {}", error.reason())
        }
    }
    let after = services.purge.survey(&arguments.services).await?;
    if after.rows() > 0 {
        let reasons = after.refusal().unwrap_or_else(|| "stop whoever writes to them".to_owned());
        bail!("{} rows are there that came or were taken up meanwhile: {reasons}; then call again", after.rows());
    }
    say!("running replicas show none of it after {} s", VISIBLE_FOR.as_secs());
    Ok(ExitCode::SUCCESS)
}

/// A line a service, and one for all.
fn table(survey: &Survey) {
    let names = survey.services.iter().map(|of| of.service.chars().count());
    let width = names.max().unwrap_or_default().max("service".len());
    say!("{:<width$} {:>10} {:>13} {:>12}", "service", "entries", "improvements", "samples");
    let line = |name: &str, entries: i64, improvements: i64, samples: i64| {
        say!("{name:<width$} {entries:>10} {improvements:>13} {samples:>12}");
    };
    let mut all = (0, 0, 0);
    for of in &survey.services {
        let samples = of.samples.values().sum::<i64>();
        line(&of.service, of.entries, of.improvements, samples);
        all = (all.0 + of.entries, all.1 + of.improvements, all.2 + samples);
    }
    if survey.services.len() > 1 {
        line("all", all.0, all.1, all.2);
    }
}
