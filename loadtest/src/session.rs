//! One simulated client: its connection, its random numbers and what it remembers between requests.

use std::collections::HashMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use goose::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, RequestBuilder, StatusCode, redirect};

use crate::plan::Plan;

/// What a scenario's step fails with.
pub(crate) type Failure = Box<TransactionError>;

/// `ETag`s kept by a client, of the most popular entries: bounds a client's memory.
const REMEMBERED: usize = 256;

/// Pause of a client that got no answer: to a server that is gone, failures would come by the hundred thousand.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The state of a simulated client.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) plan: Arc<Plan>,
    pub(crate) rng: SmallRng,
    /// Number of the client within the run.
    pub(crate) number: usize,
    /// Improvements this client has asked for.
    pub(crate) asked: u64,
    etags: HashMap<usize, HeaderValue>,
}

impl Session {
    /// The service this client works for.
    pub(crate) fn service(&self) -> &str {
        &self.plan.services[self.number % self.plan.services.len()]
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

/// The session of a client.
///
/// # Errors
/// When the client was never started.
pub(crate) fn session(user: &mut GooseUser) -> Result<&mut Session, Failure> {
    user.get_session_data_mut::<Session>().ok_or_else(|| "the client has no session".into())
}

/// Settings of every connection: kept alive, no compression, no proxy, and no redirect, for one could lead off this
/// machine. Bears the token of the environment's `DGM_TOKEN`, if there is one.
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
    Ok(ClientBuilder::new()
        .default_headers(headers)
        .user_agent(concat!("dgm-loadtest/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .tcp_nodelay(true)
        // Only plain HTTP is spoken here; loading the machine's certificates for each of a thousand clients is slow.
        .tls_certs_only([]))
}

/// Gives a client its own connection and session.
pub(crate) async fn start(user: &mut GooseUser, plan: Arc<Plan>) -> TransactionResult {
    let seconds = user.config.timeout.as_deref().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let client = client().map_err(|error| format!("{error:#}"))?.timeout(Duration::from_secs_f64(seconds));
    user.set_client_builder(client).await?;
    let number = plan.enlist();
    let rng = SmallRng::seed_from_u64(number as u64);
    user.set_session_data(Session { plan, rng, number, asked: 0, etags: HashMap::new() });
    Ok(())
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) body: Vec<u8>,
}

/// Sends a request, counted under its route template, and reads the answer to its end, or the connection could not
/// be used again. With `conditional`, 304 is the success expected and 200 is one too.
pub(crate) async fn send(
    user: &mut GooseUser,
    route: &str,
    request: RequestBuilder,
    conditional: bool,
) -> Result<Answer, Failure> {
    let builder = GooseRequest::builder().name(route).set_request_builder(request);
    let builder = if conditional { builder.expect_status_code(304) } else { builder };
    let mut goose = user.request(builder.build()).await?;
    let response = match goose.response {
        Ok(response) => response,
        Err(error) => {
            tokio::time::sleep(RETRY_PAUSE).await;
            return Err(error.into());
        }
    };
    let status = response.status();
    let etag = response.headers().get(ETAG).cloned();
    let body = match response.bytes().await {
        Ok(body) => body.into(),
        Err(error) => {
            user.set_failure("the answer broke off", &mut goose.request, None, None)?;
            return Err(error.into());
        }
    };
    if conditional && status == StatusCode::OK {
        user.set_success(&mut goose.request)?;
    }
    if goose.request.success { Ok(Answer { etag, body }) } else { Err(format!("{route}: {status}").into()) }
}

/// `GET path`, counted under `route`.
pub(crate) async fn get(user: &mut GooseUser, route: &str, path: &str) -> Result<Answer, Failure> {
    let request = user.get_request_builder(&GooseMethod::Get, path)?;
    send(user, route, request, false).await
}

/// `POST path` with a JSON body, counted under `route`.
pub(crate) async fn post(
    user: &mut GooseUser,
    route: &str,
    path: &str,
    body: &serde_json::Value,
) -> Result<Answer, Failure> {
    let request = user.get_request_builder(&GooseMethod::Post, path)?.json(body);
    send(user, route, request, false).await
}
