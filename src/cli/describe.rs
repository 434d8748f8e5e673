//! `dgm openapi`, `dgm metrics`, `dgm config`: what the binary says of itself.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::settings::Common;
use crate::observability::reference;

pub(super) fn openapi() -> anyhow::Result<ExitCode> {
    say!("{}", crate::http::document().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(super) struct MetricsArguments {
    /// How they are printed
    #[arg(long, value_enum, default_value_t)]
    format: MetricsFormat,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum MetricsFormat {
    /// For people: tables, with the panels and alerts that use each
    #[default]
    Markdown,
    /// For programs: all that the tables say
    Json,
    /// HELP and TYPE lines of the text exposition, without samples
    PrometheusMetadata,
}

pub(super) fn metrics(arguments: &MetricsArguments) -> anyhow::Result<ExitCode> {
    // Routes and jobs are values of labels.
    crate::http::define_labels();
    let text = match arguments.format {
        MetricsFormat::Markdown => reference::markdown(),
        MetricsFormat::Json => serde_json::to_string_pretty(&reference::entries())?,
        MetricsFormat::PrometheusMetadata => reference::metadata(),
    };
    say!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn config(common: &Common, defaults: bool) -> anyhow::Result<ExitCode> {
    if defaults {
        say!("{}", crate::config::DEFAULTS.trim_end());
    } else {
        say!("{}", toml::to_string(&common.load(&[])?)?.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
