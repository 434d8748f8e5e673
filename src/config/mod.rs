//! The configuration: defaults, a file, the environment; in this order, the later wins.
//!
//! `default.toml` is the one list of all settings. A key that is not in it is refused, with the nearest one that is.

mod secret;
mod unknown;

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use secret::SecretUrl;

/// The text of the commented defaults.
pub const DEFAULTS: &str = include_str!("default.toml");
const PREFIX: &str = "DGM__";
/// Variables with names of their own.
const WELL_KNOWN: [(&str, &str); 6] = [
    ("DATABASE_URL", "database.url"),
    ("DATABASE_REPLICA_URL", "database.replica_url"),
    ("REDIS_URL", "cache.redis_url"),
    ("SERVICE_NAME", "service.name"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    ("RUST_LOG", "telemetry.log_filter"),
];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be read or has the wrong type.
    #[error("configuration: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    /// A setting that does not exist.
    #[error("configuration: unknown setting {key:?} (from {source_name}){hint}")]
    Unknown {
        /// The dotted key.
        key: String,
        /// The file or the environment.
        source_name: String,
        /// The nearest known key, in words, or nothing.
        hint: String,
    },
    /// A setting has a value that makes no sense.
    #[error("configuration: {key} {reason}")]
    Invalid {
        /// The dotted key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// TOML for figment. Its feature `toml` depends on an older release, which compiles a second parser.
struct Toml;

impl Format for Toml {
    type Error = toml::de::Error;
    const NAME: &'static str = "TOML";

    fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Self::Error> {
        toml::from_str(text)
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])* #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs, reason = "every key is described in default.toml, once")]
        pub struct $name { $(pub $field: $type,)* }
    };
}

section!(
    /// `[service]`
    Service { name: String, }
);
section!(
    /// `[http]`
    Http {
        bind: std::net::SocketAddr,
        ops_bind: std::net::SocketAddr,
        max_body_bytes: usize,
        header_timeout_seconds: u64,
        max_connections: usize,
        idle_timeout_seconds: u64,
        request_timeout_seconds: u64,
        unready_seconds: u64,
        drain_seconds: u64,
    }
);
section!(
    /// `[database]`
    Database {
        url: SecretUrl,
        replica_url: SecretUrl,
        replica_max_lag_milliseconds: u64,
        standbys: u32,
        data_directory: String,
        max_connections: u32,
        write_connections: u32,
        acquire_timeout_seconds: u64,
        statement_timeout_seconds: u64,
    }
);
section!(
    /// `[cache]`
    Cache {
        redis_url: SecretUrl,
        redis_ca_file: String,
        redis_timeout_milliseconds: u64,
        max_bytes: u64,
        coherent: bool,
        selection_max_bytes: usize,
    }
);
section!(
    /// `[auth]`
    Auth { required: bool, session_ttl_seconds: u64, }
);
section!(
    /// `[samples]`
    Samples {
        retention_months: u32,
        premake_months: u32,
        retention_patience_seconds: u64,
        export_url: String,
        max_future_seconds: u32,
    }
);
section!(
    /// `[artifacts]`
    Artifacts { url: String, max_bytes: u64, grace_seconds: u64, }
);
section!(
    /// `[limits]`
    Limits { artifacts_per_entry: u64, artifact_bytes_per_entry: u64, artifact_bytes_per_service: u64, }
);
section!(
    /// `[jobs]`
    Jobs { enabled: bool, schedules: String, }
);
section!(
    /// `[telemetry]`
    Telemetry {
        metrics: bool,
        log_format: LogFormat,
        log_filter: String,
        log_dir: String,
        log_retention_days: u32,
        log_max_bytes: u64,
        otlp_endpoint: SecretUrl,
        trace_sample_ratio: f64,
    }
);
section!(
    /// Everything.
    Config {
        service: Service,
        http: Http,
        database: Database,
        cache: Cache,
        auth: Auth,
        samples: Samples,
        artifacts: Artifacts,
        limits: Limits,
        jobs: Jobs,
        telemetry: Telemetry,
    }
);

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads defaults, `file` and the environment; `overrides` (dotted keys) come from the command line and win.
    ///
    /// # Errors
    /// [`Error`] names the setting and where it came from.
    pub fn load(file: Option<&Path>, overrides: &[(&str, figment::value::Value)]) -> Result<Self, Error> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        for (variable, key) in WELL_KNOWN {
            // An empty variable is what shells and Compose files make of an unset one.
            if let Some(value) = std::env::var(variable).ok().filter(|value| !value.is_empty()) {
                figment = figment.merge(Serialized::default(key, value));
            }
        }
        figment = figment.merge(Env::prefixed(PREFIX).split("__"));
        for (key, value) in overrides {
            figment = figment.merge(Serialized::default(key, value));
        }
        unknown::refuse(&figment)?;
        let config: Self = figment.extract().map_err(Box::new)?;
        config.validate()
    }

    fn validate(self) -> Result<Self, Error> {
        let invalid = |key, reason: &str| Err(Error::Invalid { key, reason: reason.to_owned() });
        match &self {
            c if c.http.max_connections == 0 => invalid("http.max_connections", "must be 1 or more"),
            c if c.http.idle_timeout_seconds == 0 => invalid("http.idle_timeout_seconds", "must be 1 or more"),
            c if c.http.request_timeout_seconds == 0 => invalid("http.request_timeout_seconds", "must be 1 or more"),
            c if c.database.max_connections < 2 => invalid("database.max_connections", "must be 2 or more"),
            c if c.database.write_connections == 0 => invalid("database.write_connections", "must be 1 or more"),
            c if c.database.acquire_timeout_seconds == 0 => {
                invalid("database.acquire_timeout_seconds", "must be 1 or more")
            }
            c if c.cache.redis_timeout_milliseconds == 0 => {
                invalid("cache.redis_timeout_milliseconds", "must be 1 or more")
            }
            c if c.samples.retention_months == 0 => invalid("samples.retention_months", "must be 1 or more"),
            c if c.samples.premake_months == 0 => invalid("samples.premake_months", "must be 1 or more"),
            c if !(0.0..=1.0).contains(&c.telemetry.trace_sample_ratio) => {
                invalid("telemetry.trace_sample_ratio", "must lie in 0..1")
            }
            c if c.telemetry.log_retention_days == 0 => invalid("telemetry.log_retention_days", "must be 1 or more"),
            c if c.auth.session_ttl_seconds == 0 => invalid("auth.session_ttl_seconds", "must be 1 or more"),
            _ => Ok(self),
        }
    }

    /// The database's URL.
    ///
    /// # Errors
    /// When none is set.
    pub fn database_url(&self) -> Result<&str, Error> {
        match self.database.url.expose() {
            "" => Err(Error::Invalid { key: "database.url", reason: "is not set; set DATABASE_URL".to_owned() }),
            url => Ok(url),
        }
    }
}

#[cfg(test)]
mod tests;
