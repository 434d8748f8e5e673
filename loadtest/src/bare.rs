//! What the service is held against: axum as it comes, with an answer of the service and none of its work, in a process of
//! its own as the service is.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::serve::ListenerExt as _;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::processes::Meter;

/// An answer of the service, to be given again and again.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    headers: Vec<(String, String)>,
    body: String,
}

/// A bare handler that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    pub(crate) url: Url,
}

impl Bare {
    /// Starts one that answers as the service does to `GET path`; `folder` is for the answer.
    ///
    /// # Errors
    /// When the service does not answer, or the process does not start.
    pub(crate) async fn start(client: &Client, service: &Url, path: &str, folder: &Path) -> Result<Self> {
        let answer = client.get(service.join(path)?).send().await?.error_for_status()?;
        let told = answer.headers().iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        // Those that the HTTP library writes itself.
        let own = |name: &HeaderName| matches!(name.as_str(), "date" | "content-length" | "connection");
        let headers =
            told.filter(|(name, _)| !own(name)).map(|(name, value)| (name.to_string(), value.to_owned())).collect();
        let answer = Answer { headers, body: answer.text().await? };
        fs::create_dir_all(folder)?;
        let file = folder.join("answer.json");
        fs::write(&file, serde_json::to_vec(&answer)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        // It ends when its input does: also when this process is killed.
        command.arg("--bare").arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("starting the bare handler")?;
        let output = child.stdout.take().context("the bare handler says nothing")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        // It has read it.
        let _ = fs::remove_file(&file);
        let url = line.trim().parse().with_context(|| format!("the bare handler did not start: {line:?}"))?;
        Ok(Self { child, url })
    }

    /// Measures its processor time and that of this process from now on.
    pub(crate) fn meter(&self) -> Meter {
        Meter::of([("bare handler", self.child.id().and_then(|pid| pid.try_into().ok()))])
    }
}

/// Serves on a free port, whose address it prints, until its input ends.
///
/// # Errors
/// When the answer of the file cannot be read, or given.
pub(crate) async fn serve(file: &Path) -> Result<()> {
    let answer: Answer = serde_json::from_slice(&fs::read(file)?).with_context(|| file.display().to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let body = Bytes::from(answer.body);
    let router = Router::new().fallback(move || std::future::ready((headers.clone(), body.clone())));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    let listener = listener.tap_io(|stream| {
        // Fails when the peer is gone already.
        let _ = stream.set_nodelay(true);
    });
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Ok(axum::serve(listener, router).await?)
}
