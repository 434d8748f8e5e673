//! `dgm files`: artifacts, exported months, and the targets that hold them.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::settings::Common;
use crate::domain::job::RunOutcome;
use crate::jobs::instance;
use crate::objects::{Bucket, MARKER, Purpose};
use crate::service::artifacts::{Copied, Depth, Direction, Lost, Verified};
use crate::telemetry::catalogue::jobs::ReportedJob;

#[derive(Debug, Subcommand)]
pub(super) enum FilesCommand {
    /// Make a folder or bucket a target: write the marker without which nothing is exported or backed up to it. Where a disk is not
    /// mounted the marker is missing, and nothing is written beneath it. Again, it changes nothing
    Init {
        /// `file:///folder`, of which the folder above must exist, or `s3://bucket/prefix`
        url: String,
        /// What it is for: backup, exports (`samples.export_url`) or artifacts (`artifacts.url`). When absent, that of the setting that has
        /// this URL, else backup
        #[arg(long)]
        purpose: Option<Purpose>,
    },
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
        /// The copy; another machine, or a bucket. `dgm files init URL` makes it one
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
        FilesCommand::Init { url, purpose } => return initialise(common, &url, purpose).await,
        FilesCommand::Verify { read, copy } => verify(common, read, copy).await?,
        FilesCommand::Backup { url } => copy(common, &url, Direction::Backup).await?,
        FilesCommand::Restore { url } => copy(common, &url, Direction::Restore).await?,
    };
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn initialise(common: &Common, url: &str, purpose: Option<Purpose>) -> anyhow::Result<ExitCode> {
    let config = common.load(&[])?;
    let is_at = |setting: &str| setting.trim_end_matches('/') == url.trim_end_matches('/');
    let of_settings = [(&config.samples.export_url, Purpose::Exports), (&config.artifacts.url, Purpose::Artifacts)];
    let of_settings = of_settings.into_iter().find_map(|(setting, purpose)| is_at(setting).then_some(purpose));
    let purpose = purpose.or(of_settings).unwrap_or(Purpose::Backup);
    let target = Bucket::open(url).map_err(anyhow::Error::msg)?;
    if target.initialise(purpose).await? {
        say!("{url}: initialised as the target for {purpose}, by {MARKER}");
        if target.is_on_root_file_system() {
            eprintln!(
                "note: {url} is on the file system of /; if a disk belongs there, it is not mounted: remove {MARKER}, mount it, try again"
            );
        }
    } else {
        say!("{url}: it was the target for {purpose} already");
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(common: &Common, read: bool, copy: Option<String>) -> anyhow::Result<u64> {
    let (config, services) = common.services()?;
    let bar = spinner()?;
    let depth = if read { Depth::Content } else { Depth::Size };
    let progress = |so_far: &Verified| bar.set_position(so_far.artifacts);
    let verified = services.artifacts.verify(copy.as_deref(), depth, |lost| tell(&bar, lost), progress).await;
    bar.finish_and_clear();
    let Verified { artifacts, bytes, lost } = verified?;
    let looked = if read { "read" } else { "looked for" };
    let verdict = if lost == 0 { "all there".to_owned() } else { format!("{lost} not whole") };
    let place = copy.unwrap_or(config.artifacts.url);
    say!("{} with {} {looked} in {place}: {verdict}", counted(artifacts), HumanBytes(bytes));
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
