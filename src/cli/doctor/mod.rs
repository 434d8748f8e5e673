//! `dgm doctor`: one line for each part, all of them whatever is wrong.

mod report;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::migrate::{judge_data, judge_schema};
use super::settings::Common;
use crate::config::{Config, SecretUrl};
use crate::db::Wanted;
use crate::service::Services;
use crate::service::error::Error;
use crate::store::facts::Examination;
use crate::store::maintenance::Visibility;
use crate::store::migrate::{Inspection, Schema};
use report::Report;

/// Transactions that are not frozen, from which on VACUUM is plainly not keeping up: autovacuum acts at 200 million, writes
/// stop at about 2.1 billion.
const XID_AGE_LIMIT: i32 = 1_000_000_000;
/// Migrations that are named in one line.
const NAMED: usize = 3;

/// What needs a database.
const OF_SERVER: &[&str] = &["pooler", "encoding", "connections", "disk"];
/// What needs its schema.
const OF_SCHEMA: &[&str] = &["partitions", "privileges", "upkeep", "statistics", "integrity"];
/// What needs a configuration that can be used.
const OF_SERVICES: &[&str] = &["cache", "redis", "artifacts", "exports"];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print an array of objects: `check`, `ok`, `level` (ok, fail or skip), `text`
    #[arg(long)]
    json: bool,
}

/// Exit code 1 when one part is not well.
pub(super) async fn run(common: &Common, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let (config, services) = prepare(common, &mut report)?;
    database(&mut report, &config, services.as_ref()).await;
    report.add("replica", server::replica(&config).await);
    match &services {
        Some(services) => stores(&mut report, &config, services).await,
        None => report.skip(OF_SERVICES, "the configuration cannot be used"),
    }
    report.add("tracing", tracing_endpoint(&config).await);
    if arguments.json {
        report.print_json()?;
    } else {
        report.print();
    }
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The configuration, and the use cases if it allows for them.
fn prepare(common: &Common, report: &mut Report) -> anyhow::Result<(Config, Option<Services>)> {
    let config = match common.load_with_database() {
        Ok(config) => config,
        // What else is configured can be checked without a database.
        Err(_) => common.load(&[])?,
    };
    let mut usable = config.clone();
    if config.database_url().is_err() {
        usable = common.load(&[("database.url", "postgres://localhost".into())])?;
    }
    match crate::app::services(&usable) {
        Ok(services) => {
            report.add("configuration", Ok("can be used; `dgm config` prints it".to_owned()));
            Ok((config, Some(services)))
        }
        Err(error) => {
            report.add("configuration", Err(format!("{error:#}")));
            Ok((config, None))
        }
    }
}

async fn database(report: &mut Report, config: &Config, services: Option<&Services>) {
    let reached = match config.database_url() {
        Ok(url) => Examination::open(url, Wanted::Primary, server::TIMEOUT)
            .await
            .map_err(|error| error.to_string())
            .map(|it| (url, it)),
        Err(_) => Err("none: set DATABASE_URL, or start `dgm dev` in this directory".to_owned()),
    };
    let facts = match reached {
        Ok((url, mut examination)) => {
            let facts = examination.facts().await.map_err(|e| format!("{}: {}", examination.database, e.reason()));
            facts.map(|facts| (url, examination, facts))
        }
        Err(reason) => Err(reason),
    };
    let (url, mut examination, facts) = match facts {
        Ok(all) => all,
        Err(reason) => {
            report.add("database", Err(reason));
            for part in [OF_SERVER, &["migrations"], OF_SCHEMA, &["clock"]] {
                report.skip(part, "there is no connection to the database");
            }
            return;
        }
    };
    report.add("database", Ok(format!("{} (PostgreSQL {})", config.database.url.redacted(), facts.version)));
    // A connection is made only where both are so.
    report.add("pooler", Ok("none, or one in session mode".to_owned()));
    report.add("encoding", Ok(facts.encoding.clone()));
    report.add("connections", server::connections(&facts, config));
    report.add("disk", server::disk(&facts, config));
    let schema = inspect(url).await;
    let is_complete = schema.as_ref().is_ok_and(|(_, schema)| schema.newer().is_none() && schema.is_complete());
    report.add("migrations", schema.as_ref().map_err(Clone::clone).and_then(|(_, schema)| migrations(schema)));
    match (schema, services) {
        (Ok((inspection, _)), Some(services)) if is_complete => {
            report.add("partitions", partitions(services).await);
            report.add("privileges", server::privileges(&mut examination, &facts).await);
            report.add("upkeep", upkeep(services).await);
            let visibility = services.operations.visibility().await;
            report.add("statistics", visibility.as_ref().map(visible).map_err(Error::cause));
            integrity(report, inspection).await;
        }
        (_, None) => report.skip(OF_SCHEMA, "the configuration cannot be used"),
        (Err(_), _) => report.skip(OF_SCHEMA, "the migrations cannot be read"),
        _ => report.skip(OF_SCHEMA, "the schema is not the one of this dgm"),
    }
    match services {
        Some(services) => report.add("clock", clock(services).await),
        None => report.skip(&["clock"], "the configuration cannot be used"),
    }
}

async fn inspect(url: &str) -> Result<(Inspection, Schema), String> {
    let mut inspection = Inspection::open(url).await.map_err(|error| error.to_string())?;
    let schema = inspection.schema().await.map_err(|error| error.to_string())?;
    Ok((inspection, schema))
}

fn migrations(schema: &Schema) -> Result<String, String> {
    if let Some(newer) = schema.newer() {
        return Err(newer.to_string());
    }
    if schema.is_empty() {
        return Err("the database has no schema: run `dgm migrate up`".to_owned());
    }
    let wrong: Vec<String> = judge_schema(schema)
        .into_iter()
        .filter_map(|(migration, outcome)| Some(format!("{migration}: {}", outcome.err()?)))
        .collect();
    if wrong.is_empty() {
        return Ok(format!("at {}", schema.newest()));
    }
    let more = wrong.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    let advice = if schema.is_complete() { "restore its file" } else { "run `dgm migrate up`" };
    Err(format!("{}{more}: {advice}", wrong.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ")))
}

async fn partitions(services: &Services) -> Result<String, String> {
    let partitions = services.partitions.list().await.map_err(|error| error.cause())?;
    let newest = partitions.last().map(|p| p.name.clone()).ok_or("there are none: run `dgm partition ensure`")?;
    Ok(format!("{} of them, up to {newest}", partitions.len()))
}

async fn upkeep(services: &Services) -> Result<String, String> {
    let upkeep = services.operations.maintenance().await.map_err(|error| error.cause())?;
    let unused: Vec<&str> = upkeep.unused().map(|index| index.name.as_str()).collect();
    let since = upkeep.since.map_or_else(|| "the database was made".to_owned(), |since| since.to_rfc3339());
    let unused = match unused.as_slice() {
        [] => String::new(),
        names => format!("; not used here since {since}: {}", names.join(", ")),
    };
    let text = format!("{} transactions not frozen{unused}", upkeep.xid_age);
    if upkeep.xid_age < XID_AGE_LIMIT { Ok(text) } else { Err(text) }
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

async fn integrity(report: &mut Report, mut inspection: Inspection) {
    let checks = judge_data(&mut inspection).await;
    let failed: Vec<_> = checks.iter().filter_map(|(check, outcome)| Some((check, outcome.as_ref().err()?))).collect();
    if failed.is_empty() {
        report.add("integrity", Ok(format!("{} checks; `dgm migrate verify` lists them", checks.len())));
    }
    for (check, what) in failed {
        report.add("integrity", Err(format!("{check}: {what}")));
    }
}

async fn clock(services: &Services) -> Result<String, String> {
    let reading = services.clock.read().await.map_err(|error| error.to_string())?;
    reading.verified().map_err(|error| error.to_string())?;
    Ok(format!("{} ms from the database's", reading.ahead.num_milliseconds()))
}

/// What is not PostgreSQL.
async fn stores(report: &mut Report, config: &Config, services: &Services) {
    let url = config.cache.redis_url.redacted();
    match services.operations.probe_redis().await {
        Ok(false) => {
            report.add("cache", Ok("in-process only; REDIS_URL is not set".to_owned()));
            report.skip(&["redis"], "REDIS_URL is not set");
        }
        Ok(true) => {
            report.add("cache", Ok(url));
            report.add("redis", services.operations.probe_redis_commands().await);
        }
        Err(error) => {
            report.add("cache", Err(format!("{url}: {error}")));
            report.skip(&["redis"], "Redis does not answer");
        }
    }
    let artifacts = services.artifacts.probe().await;
    report.add(
        "artifacts",
        artifacts.map(|place| place.unwrap_or_else(|| "none are kept; artifacts.url is empty".to_owned())),
    );
    let exports = services.partitions.probe_exports().await;
    let nowhere = || "months are dropped without one; samples.export_url is empty".to_owned();
    report.add("exports", exports.map(|place| place.unwrap_or_else(nowhere)).map_err(|refused| refused.to_string()));
}

async fn tracing_endpoint(config: &Config) -> Result<String, String> {
    if config.telemetry.otlp_endpoint.expose().is_empty() {
        return Ok("off; OTEL_EXPORTER_OTLP_ENDPOINT is not set".to_owned());
    }
    reachable(&config.telemetry.otlp_endpoint).await
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
