//! `dgm import samples`: a month that retention exported, back in the table.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::interrupt::{INTERRUPTED, interrupted};
use super::settings::Common;
use crate::service::partitions::{ImportError, Imported, Progress};

pub(super) async fn run(common: &Common, place: &str, keep_days: u16) -> anyhow::Result<ExitCode> {
    let (_, services) = common.services()?;
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} samples, {per_sec}, {eta} left")?);
    let progress = |progress: Progress| {
        let (phase, done, all) = match progress {
            Progress::Checked(done, all) => ("checking", done, all),
            Progress::Stored(done, all) => ("storing", done, all),
        };
        if bar.message() != phase {
            bar.set_message(phase);
            bar.reset();
        }
        bar.set_length(all);
        bar.set_position(done);
    };
    let imported = services.partitions.import(place, keep_days, &interrupted(), progress).await;
    bar.finish_and_clear();
    match imported {
        Ok(Imported { month, samples, new, held_until, .. }) => {
            let known = samples - new;
            say!("{samples} samples of {} read, {new} new, {known} known", month.format("%Y-%m"));
            say!("held until {}: retention keeps the month until then", held_until.format("%Y-%m-%dT%H:%M:%SZ"));
            Ok(ExitCode::SUCCESS)
        }
        Err(stopped @ (ImportError::Stopped(_) | ImportError::StoppedBefore)) => {
            eprintln!("dgm: {stopped}");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error.into()),
    }
}
