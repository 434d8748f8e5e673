//! Logs and traces of the process.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Format, JsonFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Registry, fmt};

use super::json::{HumanLines, JsonLines};
use super::{files, otlp, spans};

/// How long the last spans may take to leave the process.
const FLUSH: Duration = Duration::from_secs(5);

/// sqlx warns of parameters of a URL that it does not know, with their values, and libpq's include a password.
const TELLTALE: &str = "sqlx_postgres::options::parse";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes; coloured on a terminal unless `NO_COLOR` is set.
    Human,
    /// One JSON object a line: `timestamp`, `level`, `target`, `message`, `fields`, `span`.
    Json,
}

/// What [`init`] needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How log lines look.
    pub format: LogFormat,
    /// Which events are logged, in the syntax of `RUST_LOG`; empty means `info`.
    pub filter: String,
    /// The folder of the log files; none: standard error.
    pub log_dir: Option<PathBuf>,
    /// The base URL of an OTLP collector (HTTP, usually port 4318); none: no traces.
    pub otlp_endpoint: Option<String>,
    /// `service.name` of the traces.
    pub service_name: String,
    /// The share of traces that is sampled, 0 to 1, of those that start here.
    pub sample_ratio: f64,
}

/// Why logs and traces could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is malformed.
    #[error("the log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The collector's URL is none.
    #[error("the OTLP endpoint {endpoint:?}: {reason}")]
    Endpoint {
        /// As it was given, without credentials.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client of the exporter cannot be made, for instance for want of certificates.
    #[error("the client of the OTLP exporter: {0}")]
    Client(reqwest::Error),
    /// The exporter refuses its settings; some come from `OTEL_*` variables.
    #[error("the OTLP exporter: {0}")]
    Exporter(opentelemetry_otlp::ExporterBuildError),
    /// The log files cannot be written.
    #[error("telemetry.log_dir {folder:?}: {error}")]
    Files {
        /// Where they would be.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is no thread to be had.
    #[error("a thread for the OTLP exporter: {0}")]
    Thread(io::Error),
    /// Logs were started before.
    #[error("logs: {0}")]
    Started(#[from] TryInitError),
}

/// Keeps traces and log files going; what is left of them is sent and written when it is dropped.
#[derive(Debug)]
#[must_use = "spans that have not been sent are sent when it is shut down"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
    // Dropped after the last warning.
    files: Option<WorkerGuard>,
}

impl Guard {
    /// Sends what is left, and blocks for up to 5 s; the thread must not be needed by others meanwhile. The caller's
    /// runtime need not run for it. A collector that does not answer costs a warning and the spans.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(provider) = self.provider.take() else { return };
        match provider.shutdown_with_timeout(FLUSH) {
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) => tracing::warn!(%error, "the last spans may be lost"),
        }
    }
}

/// Starts logs, on standard error or in files, and, with an endpoint, traces. Once in a process.
///
/// # Errors
/// When the filter or the endpoint is malformed, the exporter or the log files cannot be made, or logs were started before.
pub fn init(settings: &Settings) -> Result<Guard, Error> {
    let guard = if let Some(folder) = &settings.log_dir {
        let opened = files::open(folder).map_err(|error| Error::Files { folder: folder.clone(), error });
        let (writer, files) = opened?;
        let (subscriber, mut guard) = subscriber(settings, writer, false)?;
        subscriber.try_init()?;
        guard.files = Some(files);
        guard
    } else {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (subscriber, guard) = subscriber(settings, io::stderr, colours)?;
        subscriber.try_init()?;
        guard
    };
    if settings.otlp_endpoint.is_some() {
        spans::exported(settings.sample_ratio);
    }
    super::panics::report();
    Ok(guard)
}

/// What [`init`] installs, for a writer.
pub(super) fn subscriber<W>(
    settings: &Settings,
    writer: W,
    colours: bool,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Guard), Error>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(&settings.filter)?;
    // A warning without the request it belongs to is worth little, so spans stay when `info` events are filtered out.
    let spans = if wanted.max_level_hint() == Some(LevelFilter::OFF) { LevelFilter::OFF } else { LevelFilter::INFO };
    let wanted = wanted.or(filter_fn(move |metadata: &Metadata<'_>| metadata.is_span() && *metadata.level() <= spans)
        .with_max_level_hint(spans));
    let wanted = wanted.and(filter_fn(|metadata: &Metadata<'_>| metadata.target() != TELLTALE));
    // Complaints about a standard error that is gone would go to standard error, and panic there.
    let lines = fmt::layer().with_writer(writer).log_internal_errors(false);
    let lines = match settings.format {
        LogFormat::Human => {
            lines.with_ansi(colours).event_format(HumanLines(Format::default())).with_filter(wanted).boxed()
        }
        LogFormat::Json => {
            lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(JsonLines).with_filter(wanted).boxed()
        }
    };

    let provider = settings.otlp_endpoint.as_deref().map(|endpoint| otlp::provider(settings, endpoint)).transpose()?;
    // Spans of ours only: another's would be roots of traces that nobody chose. Their events are worth having within ours, but
    // for the exporter's own doings.
    let own = ["opentelemetry", "hyper", "reqwest", "rustls", TELLTALE];
    let followed = move |metadata: &Metadata<'_>| {
        let of = |name: &str| metadata.target().starts_with(name);
        *metadata.level() <= LevelFilter::INFO
            && if metadata.is_span() { spans::is_ours(metadata) } else { !own.iter().any(|name| of(name)) }
    };
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(followed).with_max_level_hint(LevelFilter::INFO))
    });
    Ok((Registry::default().with(lines).with(traces), Guard { provider, files: None }))
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
