//! `dgm openapi`, `dgm metrics`, `dgm config`: what the binary says of itself.

use std::process::ExitCode;

use super::settings::Common;

pub(super) fn openapi() -> anyhow::Result<ExitCode> {
    say!("{}", crate::http::document().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn metrics() -> ExitCode {
    say!("{}", crate::telemetry::reference::markdown().trim_end());
    ExitCode::SUCCESS
}

pub(super) fn config(common: &Common, defaults: bool) -> anyhow::Result<ExitCode> {
    if defaults {
        say!("{}", crate::config::DEFAULTS.trim_end());
    } else {
        say!("{}", toml::to_string(&common.load(&[])?)?.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
