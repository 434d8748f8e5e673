//! `dgm files`: the files of entries and the exported months, as those who run the service see them.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::settings::Common;
use crate::domain::job::RunOutcome;
use crate::jobs::instance;
use crate::service::artifacts::{ARTIFACTS, Copied, Depth, Direction, Lost, Verified};
use crate::telemetry::catalogue::jobs::ReportedJob;

#[derive(Debug, Subcommand)]
pub(super) enum FilesCommand {
    /// Look for the bytes of every file that an entry has, and name those that are gone; exit code 1 when there are any
    Verify {
        /// Read them all and compare them with their digests; without it only their sizes are looked at
        #[arg(long)]
        read: bool,
        /// Of a copy, in place of what `artifacts.url` says
        #[arg(long, value_name = "URL")]
        copy: Option<String>,
    },
    /// Bring the files of entries and the exported months to a copy that lacks them: `file:///folder` or `s3://bucket/prefix`. Nothing
    /// is changed or removed there, so that it serves a database of any age. Its outcome is noted for the metrics and alerts of
    /// the service
    Backup {
        /// The copy; another machine, or a bucket
        url: String,
    },
    /// Bring back from a copy what the installation lacks; for after the restore of the database
    Restore {
        /// The copy
        url: String,
    },
}

pub(super) async fn run(common: &Common, command: FilesCommand) -> anyhow::Result<ExitCode> {
    let lost = match command {
        FilesCommand::Verify { read, copy } => verify(common, read, copy).await?,
        FilesCommand::Backup { url } => copy(common, &url, Direction::Backup).await?,
        FilesCommand::Restore { url } => copy(common, &url, Direction::Restore).await?,
    };
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn verify(common: &Common, read: bool, copy: Option<String>) -> anyhow::Result<u64> {
    let mut config = common.load_with_database()?;
    if let Some(copy) = copy {
        config.artifacts.url = format!("{}/{}", copy.trim_end_matches('/'), ARTIFACTS);
    }
    let services = crate::app::services(&config)?;
    let bar = spinner()?;
    let depth = if read { Depth::Content } else { Depth::Size };
    let progress = |so_far: &Verified| bar.set_position(so_far.artifacts);
    let verified = services.artifacts.verify(depth, |lost| tell(&bar, lost), progress).await;
    bar.finish_and_clear();
    let Verified { artifacts, bytes, lost } = verified?;
    let looked = if read { "read" } else { "looked for" };
    let verdict = if lost == 0 { "all there".to_owned() } else { format!("{lost} not whole") };
    say!("{} with {} {looked} in {}: {verdict}", counted(artifacts), HumanBytes(bytes), config.artifacts.url);
    Ok(lost)
}

async fn copy(common: &Common, url: &str, direction: Direction) -> anyhow::Result<u64> {
    let (_, services) = common.services()?;
    let started_at = services.clock.read().await?.now;
    let bar = spinner()?;
    let progress = |so_far: &Copied| bar.set_position(so_far.files + so_far.present + so_far.lost);
    let copied = services.artifacts.copy(url, direction, |lost| tell(&bar, lost), progress).await;
    bar.finish_and_clear();
    let said = match &copied {
        Ok(Copied { files, bytes, present, lost }) => {
            let lost =
                if *lost == 0 { String::new() } else { format!(", {lost} not whole where they should come from") };
            format!("{} with {} brought, {present} there already{lost}", counted(*files), HumanBytes(*bytes))
        }
        Err(error) => error.to_string(),
    };
    if direction == Direction::Backup {
        let well = copied.as_ref().is_ok_and(|copied| copied.lost == 0);
        let outcome = if well { RunOutcome::Success } else { RunOutcome::Failure };
        let job = ReportedJob::BackupFiles.as_str();
        let reported = services.jobs.report(job, instance(), started_at, outcome, &said).await;
        reported.context("the run cannot be reported to the service")?;
    }
    let lost = copied?.lost;
    say!("{said}");
    Ok(lost)
}

fn counted(files: u64) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

fn spinner() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} files, {per_sec}")?);
    Ok(bar)
}

fn tell(bar: &ProgressBar, Lost { digest, loss, owners }: &Lost) {
    for (entry, name) in owners {
        bar.suspend(|| say!("{name} of {entry}: {digest} {loss}"));
    }
}
