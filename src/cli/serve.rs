//! `dgm serve`: the service, against real servers.

use std::process::ExitCode;

use clap::Args;

use super::settings::{Common, start_telemetry};
use crate::app::{App, Exposure};

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) async fn run(common: &Common, _: Arguments) -> anyhow::Result<ExitCode> {
    let config = common.load(&[])?;
    config.database_url()?;
    let telemetry = start_telemetry(&config)?;
    let app = App::bind(config, Exposure { authenticate: true, loopback_hosts_only: false }).await?;
    let (api, operations) = app.addresses()?;
    tracing::info!(%api, %operations, version = env!("CARGO_PKG_VERSION"), "serving");
    let outcome = app.run().await;
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}
