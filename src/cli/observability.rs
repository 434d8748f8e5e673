//! `dgm observability`, `dgm runbook`: what operators load and read.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::observability::{Options, files, runbooks};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where they are written; folders are made
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// The job under which Prometheus scrapes the service
    #[arg(long, default_value_t = Options::default().job)]
    job: String,
    /// Where runbooks are to be read; the alert's name is put after it
    #[arg(long, value_name = "URL", default_value_t = Options::default().runbooks)]
    runbooks: String,
    /// Where Grafana shows dashboards; the dashboard's uid is put after it
    #[arg(long, value_name = "URL", default_value_t = Options::default().dashboards)]
    dashboards: String,
    /// The operations listeners of the service, for Prometheus, separated by commas
    #[arg(long, value_name = "HOST:PORT", default_value_t = Options::default().target)]
    target: String,
    /// Alertmanager, for Prometheus
    #[arg(long, value_name = "HOST:PORT", default_value_t = Options::default().alertmanager)]
    alertmanager: String,
    /// Where Alertmanager's webhooks are; service-page, database-ticket and the like are put after it
    #[arg(long, value_name = "URL", default_value_t = Options::default().receivers)]
    receivers: String,
    /// All times of the rules, so many times as long; below 1 for trials only
    #[arg(long, default_value_t = 1.0, value_parser = pace)]
    pace: f64,
}

fn pace(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(pace) if 0.0 < pace && pace <= 1.0 => Ok(pace),
        _ => Err("a number above 0, and 1 at most".to_owned()),
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { output, job, runbooks, dashboards, target, alertmanager, receivers, pace } = arguments;
    let files = files(&Options { job, runbooks, dashboards, target, alertmanager, receivers, pace })?;
    let count = files.len();
    for (name, text) in files {
        let path = output.join(name);
        let folder = path.parent().unwrap_or(&output);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    say!("{count} files written below {}", output.display());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn runbook(alert: Option<&str>) -> anyhow::Result<ExitCode> {
    match alert {
        None => runbooks::names().for_each(|name| say!("{name}")),
        Some(name) => {
            let text = runbooks::of(name).ok_or_else(|| anyhow!("no alert {name:?}: `dgm runbook` lists them"))?;
            say!("{}", text.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}
