//! `dgm dev`: everything on a private PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use url::Url;

use super::settings::{Common, start_telemetry};
use crate::app::{App, Exposure};
use crate::config::Config;
use crate::objects::{Bucket, Purpose};
use crate::postgres::{self, Server};
use crate::store::migrate::Session;

/// Where the data is kept unless the user says otherwise.
pub(super) const DATA_DIR: &str = ".dgm";
/// Keeps statistics of statements; not every installation has it.
const STATEMENTS: &str = "pg_stat_statements";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the database keeps its data; it is kept when the command stops
    #[arg(long, default_value = DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// Port of the API, on 127.0.0.1
    #[arg(long, default_value_t = 8007)]
    port: u16,
    /// Port of the operations listener (/metrics), on 127.0.0.1
    #[arg(long, default_value_t = 9007)]
    ops_port: u16,
    /// Ask callers for an API token (`dgm token create`), as `dgm serve` always does
    #[arg(long)]
    auth: bool,
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let data_dir = std::path::absolute(&arguments.data_dir)?;
    let statements = postgres::has_library(STATEMENTS);
    let settings: &[_] = if statements { &[("shared_preload_libraries", STATEMENTS)] } else { &[] };
    let folder = data_dir.clone();
    let server = tokio::task::spawn_blocking(move || Server::start(&folder, settings)).await??;
    let url = server.url("postgres");
    Session::open(&url, Duration::from_mins(1)).await?.up(None).await?;
    let mut overrides = vec![
        ("database.url", url.clone().into()),
        ("http.bind", format!("127.0.0.1:{}", arguments.port).into()),
        ("http.ops_bind", format!("127.0.0.1:{}", arguments.ops_port).into()),
        ("telemetry.log_format", "human".into()),
    ];
    if std::env::var_os("RUST_LOG").is_none_or(|filter| filter.is_empty()) {
        overrides.push(("telemetry.log_filter", "warn".into()));
    }
    let mut config = common.load(&overrides)?;
    if keep_artifacts(&mut config, &data_dir) {
        // A folder of its own, which no disk is mounted for.
        let bucket = Bucket::open(&config.artifacts.url).map_err(anyhow::Error::msg)?;
        bucket.initialise(Purpose::Artifacts).await?;
    }
    let telemetry = start_telemetry(&config)?;
    let app = App::bind(config, Exposure { authenticate: arguments.auth, loopback_hosts_only: true }).await?;
    app.services().partitions.ensure().await?;
    if statements && let Err(error) = app.services().operations.keep_statement_statistics().await {
        tracing::debug!(%error, "no statistics of statements");
    }
    let (api, operations) = app.addresses()?;
    if !arguments.auth {
        eprintln!("dgm dev: callers are not asked who they are (--auth changes that); only this machine can reach it");
    }
    say!(
        "dgm dev: api http://{api}/api/v1 · docs http://{api}/docs · status http://{operations}/ · \
         metrics http://{operations}/metrics · database {url}"
    );
    let outcome = app.run().await;
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    outcome?;
    drop(server);
    say!("dgm dev: stopped; data kept in {}", arguments.data_dir.display());
    Ok(ExitCode::SUCCESS)
}

/// Artifacts are kept next to the database, unless the user says otherwise; `false`: he does.
pub(super) fn keep_artifacts(config: &mut Config, data_dir: &Path) -> bool {
    let url = Url::from_directory_path(data_dir.join("artifacts"));
    let (true, Ok(url)) = (config.artifacts.url.is_empty(), url) else { return false };
    config.artifacts.url = url.into();
    true
}
