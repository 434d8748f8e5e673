//! The composition root: the layers are put together here, once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cache::{self, Cache, Redis};
use crate::config::Config;
use crate::db::{self, Database};
use crate::http::{self, Callers, Connections};
use crate::jobs::Schedules;
use crate::objects::Bucket;
use crate::service::Services;
use crate::service::artifacts::{Limits, Storage};
use crate::service::error::Error;
use crate::service::settings::{SampleWindow, Settings};
use crate::store::Stores;
use crate::telemetry::files::Retention;
use crate::telemetry::{catalogue, process};

/// Builds the use cases; also for commands that do not serve.
///
/// # Errors
/// When a URL of the configuration is none, or a file that it names cannot be read.
pub fn services(config: &Config) -> anyhow::Result<Services> {
    let replica = config.database.replica_url.expose();
    let max_lag = Duration::from_millis(config.database.replica_max_lag_milliseconds);
    let pools = db::Settings {
        max_connections: config.database.max_connections,
        write_connections: config.database.write_connections,
        acquire_timeout: Duration::from_secs(config.database.acquire_timeout_seconds),
        statement_timeout: Duration::from_secs(config.database.statement_timeout_seconds),
        replica: (!replica.is_empty()).then(|| (replica.to_owned(), max_lag)),
    };
    let database = Database::new(config.database_url()?, &pools)?;
    let cache = Cache::new(&cache::Settings {
        max_bytes: config.cache.max_bytes,
        redis: redis(config)?,
        coherent: config.cache.coherent,
    })
    .context("cache.redis_url, cache.redis_ca_file")?;
    let settings = Settings {
        window: SampleWindow {
            retention_months: config.samples.retention_months,
            max_future: TimeDelta::seconds(i64::from(config.samples.max_future_seconds)),
        },
        premake_months: config.samples.premake_months,
        retention_timeout: Duration::from_secs(config.samples.retention_patience_seconds),
        exports: bucket("samples.export_url", &config.samples.export_url)?,
        artifacts: bucket("artifacts.url", &config.artifacts.url)?.map(|bucket| Storage {
            bucket,
            max_bytes: config.artifacts.max_bytes,
            grace: Duration::from_secs(config.artifacts.grace_seconds),
            limits: Limits {
                artifacts_per_entry: config.limits.artifacts_per_entry,
                artifact_bytes_per_entry: config.limits.artifact_bytes_per_entry,
                artifact_bytes_per_service: config.limits.artifact_bytes_per_service,
            },
        }),
        logs: log_dir(config).map(|folder| Retention {
            folder: folder.into(),
            days: config.telemetry.log_retention_days,
            max_bytes: config.telemetry.log_max_bytes,
        }),
        standbys: config.database.standbys,
        data_directory: data_directory(config),
        selection_max_bytes: config.cache.selection_max_bytes,
        session_ttl: Duration::from_secs(config.auth.session_ttl_seconds),
    };
    let clock = Arc::new(database.clock());
    Ok(Services::new(Stores::new(database), cache, clock, settings))
}

/// Redis, if there is one.
fn redis(config: &Config) -> anyhow::Result<Option<Redis>> {
    let (url, file) = (config.cache.redis_url.expose(), &config.cache.redis_ca_file);
    if url.is_empty() {
        return Ok(None);
    }
    let read = |file: &String| std::fs::read(file).with_context(|| format!("cache.redis_ca_file: {file}"));
    let authorities = Some(file).filter(|file| !file.is_empty()).map(read).transpose()?;
    let timeout = Duration::from_millis(config.cache.redis_timeout_milliseconds);
    Ok(Some(Redis { url: url.to_owned(), authorities, timeout }))
}

/// The bucket that a setting names, if it does.
fn bucket(setting: &str, url: &str) -> anyhow::Result<Option<Bucket>> {
    let opened = (!url.is_empty()).then(|| Bucket::open(url)).transpose();
    opened.map_err(|reason| anyhow::anyhow!("{setting}: {reason}"))
}

/// Has the kernel give memory page by page. Pieces of 2 MiB, which it would put together behind the allocator's back, hold a third
/// more than is used and grow over hours, which looks like a leak and counts against a container's limit; requests cost the same
/// with and without (docs/PERFORMANCE.md).
#[cfg(target_os = "linux")]
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay as they are");
    }
}

#[cfg(not(target_os = "linux"))]
const fn use_small_pages() {}

/// The folder of the log files, if there are any.
pub(crate) fn log_dir(config: &Config) -> Option<PathBuf> {
    folder(&config.telemetry.log_dir)
}

/// The data directory of the database server, if it can be reached from here.
pub(crate) fn data_directory(config: &Config) -> Option<PathBuf> {
    folder(&config.database.data_directory)
}

/// The folder of a setting that may be empty.
fn folder(setting: &str) -> Option<PathBuf> {
    (!setting.is_empty()).then(|| setting.into())
}

/// Connections of the operations listener: those who scrape and watch are few.
const MOST_OPERATORS: usize = 128;

/// Who is served.
#[derive(Debug, Clone, Copy)]
pub struct Exposure {
    /// Whether callers must show a token.
    pub authenticate: bool,
    /// Whether only names of the loopback interface are answered for.
    pub loopback_hosts_only: bool,
}

/// A service whose listeners are bound and not yet served.
#[derive(Debug)]
pub struct App {
    config: Config,
    state: http::State,
    api: TcpListener,
    operations: TcpListener,
    signals: Signals,
}

impl App {
    /// Binds both listeners.
    ///
    /// # Errors
    /// Names the address that cannot be bound, the job whose schedule is wrong, or why the database server cannot be used.
    pub async fn bind(config: Config, exposure: Exposure) -> anyhow::Result<Self> {
        use_small_pages();
        let services = services(&config)?;
        // Before anything relies on sessions. A database that is away may come back, which is no reason to stop.
        if let Err(Error::Database(error)) = services.operations.check_database().await
            && matches!(*error, db::Error::Unsuitable(_))
        {
            anyhow::bail!(error.reason());
        }
        let options = http::Options {
            authenticate: exposure.authenticate,
            loopback_hosts_only: exposure.loopback_hosts_only,
            max_body_bytes: config.http.max_body_bytes,
            request_timeout: Duration::from_secs(config.http.request_timeout_seconds),
        };
        let schedules = Schedules::parse(&config.jobs.schedules).map_err(anyhow::Error::msg)?;
        let state = http::State::new(services, schedules, options);
        let (api, operations) = (listen(config.http.bind).await?, listen(config.http.ops_bind).await?);
        Ok(Self { config, state, api, operations, signals: Signals::listen()? })
    }

    /// The use cases that are served.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.state.services
    }

    /// Where the API and the operations listener are.
    ///
    /// # Errors
    /// The operating system's.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.api.local_addr()?, self.operations.local_addr()?))
    }

    /// Serves until SIGINT or SIGTERM. Then, in this order: readiness is false, the listeners close, requests in flight
    /// finish (at most `http.drain_seconds`), jobs are cancelled, connections are closed.
    ///
    /// # Errors
    /// When a listener fails or a job's schedule is wrong.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { config, state, api, operations, mut signals } = self;
        let (api_router, ops_router) = (http::api(state.clone()), http::operations(state.clone()));
        catalogue::initialise();
        let runner = state.runner.clone();
        let background = tokio::spawn({
            let services = state.services.clone();
            async move {
                tokio::join!(
                    services.changes.follow(),
                    services.archive.prefetch(),
                    services.changes.watch_replica(),
                    services.hub.run(),
                    services.identity.watch_ends(),
                    services.operations.watch_clock(),
                    services.operations.watch_flushes(),
                    services.partitions.watch_exports(),
                    services.artifacts.watch_storage(),
                    process::watch_delay()
                )
            }
        });
        state.services.changes.wait_until_known().await;
        runner.schedule(config.jobs.enabled).await?;
        // The operations listener outlives the API's drain, so that the last of it can still be seen.
        let ops_stop = CancellationToken::new();
        let api_connections = Connections {
            callers: Callers::Api,
            most: http::most_connections(config.http.max_connections),
            header_timeout: Duration::from_secs(config.http.header_timeout_seconds),
            idle_timeout: Duration::from_secs(config.http.idle_timeout_seconds),
        };
        let ops_connections = Connections { callers: Callers::Operators, most: MOST_OPERATORS, ..api_connections };
        let ops = http::serve(operations, ops_connections, ops_router, ops_stop.clone());
        let ops = tokio::spawn(ops);
        let served = http::serve(api, api_connections, api_router, state.stopping.clone());
        let mut served = tokio::spawn(served);
        tokio::select! {
            () = signals.received() => {}
            ended = &mut served => ended??,
        }
        state.unready.cancel();
        tracing::info!("stopping: readiness is false");
        tokio::time::sleep(Duration::from_secs(config.http.unready_seconds)).await;
        state.stopping.cancel();
        let drain = Duration::from_secs(config.http.drain_seconds);
        if tokio::time::timeout(drain, &mut served).await.is_err() {
            tracing::warn!("requests still ran after {drain:?}; their connections are closed");
            served.abort();
        }
        if tokio::time::timeout(drain, runner.drained()).await.is_err() {
            tracing::warn!("a job still ran after {drain:?}");
        }
        background.abort();
        if let Err(error) = state.services.archive.flush_reads().await {
            tracing::warn!(%error, "the last counts of reads are lost");
        }
        ops_stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), ops).await;
        state.services.close().await;
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// What asks a process to stop. Listened for from before anybody is told where the service is.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
