//! `dgm doctor`, `dgm healthcheck`: is it well?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::settings::Common;
use crate::config::SecretUrl;
use crate::store::maintenance::Visibility;
use crate::store::migrate::Session;

/// How long to wait for a migrator that is at work.
const MIGRATOR: Duration = Duration::from_secs(5);

/// Transactions that are not frozen, from which on VACUUM is plainly not keeping up: autovacuum acts at 200 million, writes
/// stop at about 2.1 billion.
const XID_AGE_LIMIT: i32 = 1_000_000_000;

/// One line for each part; exit code 1 when one is not well.
pub(super) async fn doctor(common: &Common) -> anyhow::Result<ExitCode> {
    let (config, services) = common.services()?;
    let mut well = true;
    let mut tell = |part: &str, verdict: Result<String, String>| {
        well &= verdict.is_ok();
        let (word, text) = match verdict {
            Ok(text) => ("ok", text),
            Err(text) => ("FAIL", text),
        };
        say!("{part:<12} {word:<5} {text}");
    };
    let schema = services.operations.schema_version().await;
    tell("database", schema.as_ref().map(|_| config.database.url.redacted()).map_err(ToString::to_string));
    if let Ok((applied, known)) = schema {
        let verdict = if applied == known {
            Ok(format!("at {applied}"))
        } else {
            Err(format!("at {applied}, this binary knows {known}: run `dgm migrate up`"))
        };
        tell("migrations", verdict);
        let ahead = services.partitions.list().await;
        let ahead = ahead.map_err(|e| e.to_string()).and_then(|partitions| {
            let newest =
                partitions.last().map(|p| p.name.clone()).ok_or("there are none: run `dgm partition ensure`")?;
            Ok(format!("{} of them, up to {newest}", partitions.len()))
        });
        tell("partitions", ahead);
        tell(
            "upkeep",
            services.operations.maintenance().await.map_err(|e| e.to_string()).and_then(|upkeep| {
                let unused: Vec<&str> = upkeep.unused().map(|index| index.name.as_str()).collect();
                let since = upkeep.since.map_or_else(|| "the database was made".to_owned(), |since| since.to_rfc3339());
                let unused = match unused.as_slice() {
                    [] => String::new(),
                    names => format!("; not used here since {since}: {}", names.join(", ")),
                };
                let text = format!("{} transactions not frozen{unused}", upkeep.xid_age);
                if upkeep.xid_age < XID_AGE_LIMIT { Ok(text) } else { Err(text) }
            }),
        );
        tell("statistics", services.operations.visibility().await.as_ref().map(visible).map_err(ToString::to_string));
        match Session::open(config.database_url()?, MIGRATOR).await {
            Ok(mut session) => {
                let verdicts = super::migrate::judge(&mut session).await?;
                let faults: Vec<_> =
                    verdicts.iter().filter_map(|(check, verdict)| Some((check, verdict.as_ref().err()?))).collect();
                if faults.is_empty() {
                    tell("integrity", Ok(format!("{} checks; `dgm migrate verify` lists them", verdicts.len())));
                }
                for (check, what) in faults {
                    tell("integrity", Err(format!("{check}: {what}")));
                }
            }
            Err(error) => tell("integrity", Err(error.to_string())),
        }
        let reading = services.clock.read().await;
        tell(
            "clock",
            reading
                .and_then(|reading| {
                    reading.verified().map(|_| format!("{} ms from the database's", reading.ahead.num_milliseconds()))
                })
                .map_err(|error| error.to_string()),
        );
    }
    tell(
        "cache",
        match services.operations.probe_redis().await {
            Ok(false) => Ok("in-process only; REDIS_URL is not set".to_owned()),
            Ok(true) => Ok(config.cache.redis_url.redacted()),
            Err(error) => Err(format!("{}: {error}", config.cache.redis_url.redacted())),
        },
    );
    let artifacts = services.artifacts.probe().await;
    tell(
        "artifacts",
        artifacts.map(|place| place.unwrap_or_else(|| "none are kept; artifacts.url is empty".to_owned())),
    );
    if config.telemetry.otlp_endpoint.expose().is_empty() {
        tell("tracing", Ok("off; OTEL_EXPORTER_OTLP_ENDPOINT is not set".to_owned()));
    } else {
        tell("tracing", reachable(&config.telemetry.otlp_endpoint).await);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which statistics of PostgreSQL are visible; hidden ones are not a failure.
fn visible(visibility: &Visibility) -> String {
    let mut missing = Vec::new();
    if !visibility.sees_all {
        missing.push(format!("sessions of other roles are hidden: GRANT pg_monitor TO \"{}\"", visibility.role));
    }
    if !visibility.has_statements {
        missing.push(
            "no times of statements: shared_preload_libraries = 'pg_stat_statements', restart, \
             CREATE EXTENSION pg_stat_statements"
                .to_owned(),
        );
    }
    if missing.is_empty() { "all sessions, and statements by name".to_owned() } else { missing.join("; ") }
}

async fn reachable(endpoint: &SecretUrl) -> Result<String, String> {
    let shown = endpoint.redacted();
    let url = url::Url::parse(endpoint.expose()).map_err(|error| format!("{shown}: {error}"))?;
    let host = url.host_str().ok_or_else(|| format!("{shown}: no host"))?.to_owned();
    let port = url.port_or_known_default().unwrap_or(4318);
    let connect = tokio::net::TcpStream::connect((host, port));
    match tokio::time::timeout(Duration::from_secs(2), connect).await {
        Ok(Ok(_)) => Ok(format!("{shown} takes connections")),
        Ok(Err(error)) => Err(format!("{shown}: {error}")),
        Err(_) => Err(format!("{shown}: no answer within 2 s")),
    }
}

/// Asks `/health` of the API on this machine; for a container's HEALTHCHECK, where there is no curl.
pub(super) fn healthcheck(common: &Common) -> anyhow::Result<ExitCode> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let bind = common.load(&[])?.http.bind;
    let target = if bind.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], bind.port())) } else { bind };
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).with_context(|| target.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).with_context(|| target.to_string())?;
    anyhow::ensure!(head.ends_with(b"200"), "{target} answered {:?}", String::from_utf8_lossy(&head));
    Ok(ExitCode::SUCCESS)
}
