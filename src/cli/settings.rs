//! What most subcommands need: the configuration, the database, logs.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use figment::value::Value;

use crate::config::{Config, LogFormat};
use crate::postgres;
use crate::service::Services;
use crate::telemetry::{self, Guard};

/// Flags that every subcommand with a configuration has.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Configuration file (TOML); `dgm config` prints every setting
    #[arg(long, env = "DGM_CONFIG", value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
}

impl Common {
    /// The configuration.
    pub(super) fn load(&self, overrides: &[(&str, Value)]) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref(), overrides)?)
    }

    /// The configuration with a database: DATABASE_URL, else the one of a `dgm dev` that runs on `./.dgm`, with its files.
    pub(super) fn load_with_database(&self) -> anyhow::Result<Config> {
        let config = self.load(&[])?;
        if config.database_url().is_ok() {
            return Ok(config);
        }
        let data_dir = std::path::absolute(super::dev::DATA_DIR)?;
        let Some(url) = postgres::running(&data_dir) else {
            return Err(anyhow::anyhow!("no database: set DATABASE_URL, or start `dgm dev` in this directory"));
        };
        let mut config = self.load(&[("database.url", url.into())])?;
        let _ = super::dev::keep_artifacts(&mut config, &data_dir);
        Ok(config)
    }

    /// The use cases, for a subcommand that serves nobody.
    pub(super) fn services(&self) -> anyhow::Result<(Config, Services)> {
        let config = self.load_with_database()?;
        let services = crate::app::services(&config)?;
        Ok((config, services))
    }
}

/// Starts logs, traces and metrics of a serving process.
pub(super) fn start_telemetry(config: &Config) -> anyhow::Result<Guard> {
    if config.telemetry.metrics {
        telemetry::recorder::install()?;
        telemetry::recorder::spawn_upkeep()?;
    }
    let settings = telemetry::Settings {
        format: match config.telemetry.log_format {
            LogFormat::Human => telemetry::LogFormat::Human,
            LogFormat::Json => telemetry::LogFormat::Json,
        },
        filter: config.telemetry.log_filter.clone(),
        log_dir: crate::app::log_dir(config),
        otlp_endpoint: Some(config.telemetry.otlp_endpoint.expose().to_owned()).filter(|endpoint| !endpoint.is_empty()),
        service_name: config.service.name.clone(),
        sample_ratio: config.telemetry.trace_sample_ratio,
    };
    let guard = telemetry::init(&settings)?;
    if !config.telemetry.log_dir.is_empty() {
        // Whoever looks for logs here should learn where they are.
        let _ = writeln!(std::io::stderr(), "dgm: logs go to {}", config.telemetry.log_dir);
    }
    Ok(guard)
}
