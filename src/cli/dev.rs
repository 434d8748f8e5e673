//! `dgm dev`: everything on a private PostgreSQL.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::app::App;
use crate::postgres::Server;
use crate::store::migrate::Session;
use crate::store::partitions;
use crate::store::pool::Store;

/// Months of partitions made ahead of the current one.
const PREMAKE_MONTHS: u32 = 3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the database keeps its data; it is kept when the command stops
    #[arg(long, default_value = ".dgm", value_name = "DIR")]
    data_dir: PathBuf,
    /// Port of the API, on 127.0.0.1
    #[arg(long, default_value_t = 8007)]
    port: u16,
    /// Port of the operations listener, on 127.0.0.1
    #[arg(long, default_value_t = 9007)]
    ops_port: u16,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let data_dir = std::path::absolute(&arguments.data_dir)?;
    let server = tokio::task::spawn_blocking(move || Server::start(&data_dir, &[])).await??;
    let url = server.url("postgres");
    Session::open(&url, Duration::from_mins(1)).await?.up(None).await?;
    let store = Store::new(&url)?;
    partitions::ensure(&store, chrono::Utc::now(), PREMAKE_MONTHS).await?;
    let addresses = [arguments.port, arguments.ops_port].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let app = App::bind(store, &addresses).await?;
    say!("dgm dev: api http://{} · operations http://{} · database {url}", addresses[0], addresses[1]);
    app.run().await?;
    say!("dgm dev: stopped; data kept in {}", arguments.data_dir.display());
    Ok(ExitCode::SUCCESS)
}
