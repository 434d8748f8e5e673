//! `dgm serve`: the service, against real servers.

use std::process::ExitCode;

use clap::Args;

use super::settings::{Common, start_telemetry};
use crate::app::{App, Exposure};
use crate::service::operations::SchemaReport;

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) async fn run(common: &Common, _: Arguments) -> anyhow::Result<ExitCode> {
    let config = common.load(&[])?;
    config.database_url()?;
    let telemetry = start_telemetry(&config)?;
    let authenticate = config.auth.required;
    if !authenticate {
        tracing::warn!("callers are not asked who they are: auth.required is false");
    }
    let app = App::bind(config, Exposure { authenticate, loopback_hosts_only: false }).await?;
    let (api, operations) = app.addresses()?;
    tracing::info!(%api, %operations, version = env!("CARGO_PKG_VERSION"), "serving");
    // Not a reason to stop: the database may be away for a moment, and /ready reports it.
    match app.services().operations.schema().await {
        Ok(SchemaReport { obstacle: Some(what), .. } | SchemaReport { newer: Some(what), .. }) => {
            tracing::warn!("{what}");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = error.cause(), "the database cannot be asked yet"),
    }
    let outcome = app.run().await;
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}
