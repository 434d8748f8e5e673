//! The Prometheus recorder.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalogue::{Kind, all};
use super::{files, process};

/// Samples wait in memory until they are drained; without this they would pile up while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A histogram's buckets are wrong.
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
    /// There is a recorder already.
    #[error("metrics: a recorder is installed already")]
    Installed,
}

/// Installs the recorder of this process; the first thing that a serving process does.
///
/// # Errors
/// When there is one already.
pub fn install() -> Result<(), Error> {
    let mut builder = PrometheusBuilder::new();
    for metric in all().map(super::catalogue::Described::metric).filter(|metric| metric.kind == Kind::Histogram) {
        // One without buckets would be rendered as a summary, which cannot be aggregated over replicas.
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| Error::Installed)?;
    let _ = HANDLE.set(handle);
    process::began();
    Ok(())
}

/// Drains samples every few seconds. A thread of its own: a busy runtime neither delays it nor waits for it.
///
/// # Errors
/// When there is no thread to be had.
pub fn spawn_upkeep() -> std::io::Result<()> {
    let upkeep = || loop {
        std::thread::sleep(UPKEEP);
        if let Some(handle) = HANDLE.get() {
            handle.run_upkeep();
        }
    };
    std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(upkeep).map(drop)
}

/// The text exposition, if there is a recorder.
#[must_use]
pub fn render() -> Option<String> {
    let handle = HANDLE.get()?;
    process::observe();
    files::observe();
    let mut text = handle.render();
    for metric in all() {
        metric.render(&mut text);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::catalogue::{self, database, jobs, routes, statements::Statement};

    /// One test, since a process has one recorder.
    #[test]
    fn counters_start_at_zero_histograms_have_buckets_and_promtool_is_content() {
        install().unwrap();
        assert!(install().is_err());
        routes::define([("GET", "/ready"), ("POST", "/ready")].into_iter());
        jobs::define(["rescue-leases"].into_iter());
        catalogue::initialise();
        database::DB_STATEMENT_DURATION.observe((Statement::ArchiveGet,), Duration::from_millis(3));
        let text = render().unwrap();
        for metric in
            all().map(super::super::catalogue::Described::metric).filter(|metric| metric.kind == Kind::Counter)
        {
            assert!(text.contains(&format!("\n{}", metric.name)), "{} is not there", metric.name);
        }
        assert!(text.contains("dgm_http_requests_total{route=\"/ready\",method=\"POST\",status=\"5xx\"} 0"), "{text}");
        assert!(!text.contains("route=\"unmatched\""), "{text}");
        let bucket = "dgm_db_statement_duration_seconds_bucket{statement=\"archive_get\",le=\"0.005\"} 1";
        assert!(text.contains(bucket), "{text}");
        assert!(!text.contains("quantile="), "a summary: {text}");
        let escaped = text.lines().find(|line| !line.starts_with('#') && line.contains('\\'));
        assert_eq!(escaped, None, "the status page reads series without escapes");

        let mut promtool = std::process::Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("promtool; `make setup` installs it");
        std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let verdict = promtool.wait_with_output().unwrap();
        let words = [verdict.stdout, verdict.stderr].concat();
        assert!(verdict.status.success() && words.is_empty(), "{}", String::from_utf8_lossy(&words));
    }
}
