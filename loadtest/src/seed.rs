//! Fills the archive before the attack; its requests count in no figure.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde_json::json;

use crate::plan::Entry;
use crate::session::client;

/// Entries of one request: about 600 kB, well under any usual limit of a body.
const BATCH: usize = 250;

/// Creates the entries, parents first.
///
/// # Errors
/// When the service is not there, refuses a batch, or does not know the last entry afterwards.
pub(crate) async fn seed(host: &Url, entries: &[Entry]) -> Result<()> {
    let client = client()?.timeout(Duration::from_mins(1)).build()?;
    let url = host.join("/api/v1/archive:batch")?;
    for batch in entries.chunks(BATCH) {
        let response = client
            .post(url.clone())
            .json(&json!({"entries": batch}))
            .send()
            .await
            .with_context(|| format!("no answer from {host}"))?;
        let status = response.status();
        let body = response.text().await?;
        let beginning: String = body.chars().take(500).collect();
        ensure!(status.is_success(), "the archive was not filled: {status} {beginning}");
    }
    if let Some(last) = entries.last() {
        let url = host.join(&format!("/api/v1/archive/{}", last.archive_entry_id))?;
        let status = client.get(url).send().await?.status();
        ensure!(status.is_success(), "the archive was filled, yet its last entry answers {status}");
    }
    Ok(())
}
