//! The driver's own requests: to fill, to warm and to look at answers. None of them is measured.

use anyhow::{Context as _, Result, bail};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response};

use crate::requests::Request;

/// A caller of one server.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: Client,
    /// `http://host:port`
    pub(crate) base: String,
    /// Headers of every request, the driver's and wrk's.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Caller {
    /// A caller that shows `token`, if there is one.
    ///
    /// # Errors
    /// When no client can be made.
    pub(crate) fn new(base: String, token: Option<&str>) -> Result<Self> {
        // The library leaves the choice of cryptography to the process; fails when it was made.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().context("an HTTP client")?;
        let mut headers = vec![(CONTENT_TYPE.as_str(), "application/json".to_owned())];
        headers.extend(token.map(|token| (AUTHORIZATION.as_str(), format!("Bearer {token}"))));
        Ok(Self { client, base, headers })
    }

    /// The same caller with one more header.
    pub(crate) fn with(&self, header: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((header, value.to_owned()));
        other
    }

    /// Sends a request, whose answer must have this status.
    ///
    /// # Errors
    /// When there is no answer, or another.
    pub(crate) async fn send(&self, request: &Request, status: u16) -> Result<Response> {
        let url = format!("{}{}", self.base, request.path);
        let mut builder = match request.method {
            "GET" => self.client.get(url),
            "POST" => self.client.post(url).body(request.body.clone()),
            other => bail!("the driver does not send {other}"),
        };
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        let response = builder.send().await?;
        let got = response.status().as_u16();
        if got == status {
            return Ok(response);
        }
        bail!("{} {} answers {got}, not {status}: {}", request.method, request.path, response.text().await?);
    }
}
