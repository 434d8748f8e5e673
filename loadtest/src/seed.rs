//! Fills the archive before the load; its requests count in no figure.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Url;
use serde_json::json;

use crate::caller::client;
use crate::plan::{Entry, METRIC_TYPES, Plan};

/// Entries of one request: about 600 kB, well under any usual limit of a body.
const BATCH: usize = 250;

/// Creates the entries, parents first, and a first sample of each series, for what has none has no newest value.
///
/// # Errors
/// When the service is not there, refuses a batch, or does not know the last entry afterwards.
pub(crate) async fn seed(host: &Url, plan: &Plan, entries: &[Entry]) -> Result<()> {
    let client = client()?.timeout(Duration::from_mins(1)).build()?;
    let post = async |path: &str, body: serde_json::Value| {
        let response = client.post(host.join(path)?).json(&body).send().await;
        let response = response.with_context(|| format!("no answer from {host}"))?;
        let status = response.status();
        let beginning: String = response.text().await?.chars().take(500).collect();
        ensure!(status.is_success(), "POST {path}: {status} {beginning}");
        Ok(())
    };
    // Invisible where standard error is no terminal.
    let progress = ProgressBar::new(entries.len() as u64)
        .with_style(ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} entries, {per_sec}, {eta} left")?);
    progress.set_message("filling the archive");
    for batch in entries.chunks(BATCH) {
        post("/api/v1/archive:batch", json!({"entries": batch})).await?;
        progress.inc(batch.len() as u64);
    }
    progress.finish_and_clear();
    let series = plan.services.iter().flat_map(|service| METRIC_TYPES.map(|metric_type| (service, metric_type)));
    let samples: Vec<_> = series
        .map(|(service, metric_type)| json!({"service_name": service, "metric_type": metric_type, "metric_value": 1.0}))
        .collect();
    post("/api/v1/metrics", json!(samples)).await?;
    if let Some(last) = entries.last() {
        let url = host.join(&format!("/api/v1/archive/{}", last.archive_entry_id))?;
        let status = client.get(url).send().await?.status();
        ensure!(status.is_success(), "the archive was filled, yet its last entry answers {status}");
    }
    Ok(())
}
