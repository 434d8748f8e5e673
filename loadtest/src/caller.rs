//! Somebody who calls the service: a user of goose, or an arrival of the open loop. The steps are written once for both.

use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, redirect};

use crate::operation::Operation;
use crate::plan::Plan;

/// `ETag`s that a caller keeps, of the most popular entries: bounds its memory.
const REMEMBERED: usize = 256;

/// Who calls: a number within the run, random numbers, and what is remembered between requests.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) plan: Arc<Plan>,
    pub(crate) rng: SmallRng,
    /// Within the run, from 0.
    pub(crate) number: usize,
    /// Things that this caller has made, for their ids.
    pub(crate) made: u64,
    etags: HashMap<usize, HeaderValue>,
}

impl Identity {
    /// The next caller of a run.
    pub(crate) fn enlist(plan: &Arc<Plan>) -> Self {
        let number = plan.enlist();
        let rng = SmallRng::seed_from_u64(number as u64);
        Self { plan: Arc::clone(plan), rng, number, made: 0, etags: HashMap::new() }
    }

    /// The service that this caller works for.
    pub(crate) fn service(&self) -> &str {
        &self.plan.services[self.number % self.plan.services.len()]
    }

    /// An id that no other caller makes, nor this one again.
    pub(crate) fn next_id(&mut self) -> String {
        self.made += 1;
        format!("lt-{}-{}-{}", self.plan.run, self.number, self.made)
    }

    /// Draws an entry by popularity: its rank and its id.
    pub(crate) fn draw(&mut self) -> (usize, String) {
        let rank = self.plan.draw(&mut self.rng);
        (rank, self.plan.entries[rank].id.clone())
    }

    /// The `ETag` last seen of the entry of this rank.
    pub(crate) fn etag(&self, rank: usize) -> Option<HeaderValue> {
        self.etags.get(&rank).cloned()
    }

    /// Keeps the `ETag` of an entry, if it is popular enough to be asked for again.
    pub(crate) fn remember(&mut self, rank: usize, etag: Option<HeaderValue>) {
        if let Some(etag) = etag.filter(|_| rank < REMEMBERED) {
            self.etags.insert(rank, etag);
        }
    }
}

/// A whole answer to an operation that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) body: Vec<u8>,
}

/// Why an operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// 503 with `Retry-After`: the service sheds load and says when to come back.
    Shed(Duration),
    /// An answer that is no success.
    Status(u16),
    /// No answer, or one that broke off.
    Broken(String),
    /// An answer that cannot be read, or a caller that was never started.
    Senseless(String),
}

impl Failure {
    /// What the answers of a run are grouped by.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Shed(_) => "503 with Retry-After".to_owned(),
            Self::Status(status) => format!("status {status}"),
            Self::Broken(why) => why.clone(),
            Self::Senseless(why) => format!("senseless: {why}"),
        }
    }
}

/// Whoever can carry out the steps.
pub(crate) trait Caller: Send {
    /// Who it is.
    fn identity(&mut self) -> Result<&mut Identity, Failure>;

    /// A request to a path of the service.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure>;

    /// Sends it, reads the answer to its end, and records how long that took and how it went.
    fn send(
        &mut self,
        operation: Operation,
        request: RequestBuilder,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// `GET path`.
    fn get(&mut self, operation: Operation, path: &str) -> impl Future<Output = Result<Answer, Failure>> + Send {
        async move {
            let request = self.request(Method::GET, path)?;
            self.send(operation, request).await
        }
    }

    /// `POST path` with a JSON body.
    fn post(
        &mut self,
        operation: Operation,
        path: &str,
        body: &serde_json::Value,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send {
        async move {
            let request = self.request(Method::POST, path)?.json(body);
            self.send(operation, request).await
        }
    }
}

/// Settings of every connection: kept alive, no compression, no proxy, and no redirect, for one could lead elsewhere.
/// Bears the token of the environment's `DGM_TOKEN`, if there is one.
///
/// # Errors
/// When the token cannot stand in a header.
pub(crate) fn client() -> Result<ClientBuilder> {
    let mut headers = HeaderMap::new();
    if let Some(token) = env::var("DGM_TOKEN").ok().filter(|token| !token.is_empty()) {
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).context("DGM_TOKEN")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(Client::builder()
        .default_headers(headers)
        .user_agent(concat!("dgm-loadtest/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .tcp_nodelay(true)
        .timeout(Duration::from_mins(1))
        // Only plain HTTP is spoken here; loading the machine's certificates for each of a thousand clients is slow.
        .tls_certs_only([]))
}

/// Reads an answer to its end, or the connection could not be used again.
pub(crate) async fn finish(operation: Operation, response: Response) -> Result<Answer, Failure> {
    let status = response.status();
    let etag = response.headers().get(ETAG).cloned();
    let pause = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let body = response.bytes().await.map_err(|error| broken(&error))?.into();
    match (status, pause) {
        (StatusCode::NOT_MODIFIED, _) if operation.is_conditional() => Ok(Answer { etag, body }),
        (status, _) if status.is_success() => Ok(Answer { etag, body }),
        (StatusCode::SERVICE_UNAVAILABLE, Some(seconds)) => Err(Failure::Shed(Duration::from_secs(seconds))),
        (status, _) => Err(Failure::Status(status.as_u16())),
    }
}

/// The kind of a failure without its address, so that a thousand of them are one line.
pub(crate) fn broken(error: &reqwest::Error) -> Failure {
    let kind = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the connection broke"
    };
    Failure::Broken(kind.to_owned())
}
