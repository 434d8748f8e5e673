//! What the service is held against: axum as it comes, with the answers of the service and none of its work.

use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where both routes are.
pub(crate) const PATH: &str = "/bare";
/// The service's worker threads on two cores.
const THREADS: usize = 2;

/// An answer of the service, to be given again and again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Those that the HTTP library does not write itself.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A sample as `POST /api/v1/metrics` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read from JSON to cost what reading costs")]
struct Sample {
    id: Option<Uuid>,
    service_name: String,
    metric_type: String,
    metric_value: f64,
    measurement_timestamp: Option<DateTime<Utc>>,
    archive_entry_id: Option<String>,
}

#[derive(Serialize)]
struct Ingested {
    accepted: u64,
    duplicates: u64,
}

async fn ingest(Json(sample): Json<Sample>) -> (StatusCode, Json<Ingested>) {
    std::hint::black_box(sample);
    (StatusCode::CREATED, Json(Ingested { accepted: 1, duplicates: 0 }))
}

/// Serves on a free port, which it prints, until it is killed.
///
/// # Errors
/// When the answer of the file cannot be read, or given.
pub(crate) fn serve(file: &Path) -> Result<()> {
    let answer: Answer = serde_json::from_slice(&fs::read(file)?).with_context(|| file.display().to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let body = Bytes::from(answer.body);
    let entry = move || std::future::ready((headers.clone(), body.clone()));
    let router = Router::new().route(PATH, get(entry).post(ingest));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
        let listener = listener.tap_io(|stream| {
            // Fails when the peer is gone already.
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, router).await?)
    })
}
