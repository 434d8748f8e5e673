//! Serving one listener. `axum::serve` sets no timer, so that a client could send its head for ever (slow-loris), and
//! waits without limit at the end; hence hyper itself.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::requests::Requests;
use crate::telemetry::catalogue::http::HTTP_CONNECTIONS;

/// Whose connections a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Those of the API; how many are open is counted.
    Api,
    /// Those who run the service. They are few, and whoever scrapes would count itself.
    Operators,
}

/// How connections are treated.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Whose they are.
    pub callers: Callers,
    /// How many are open at a time; the others wait to be accepted.
    pub most: usize,
    /// How long a client may take to send the head of its next request.
    pub header_timeout: Duration,
    /// How long a client may neither read its response nor send the rest of its request.
    pub idle_timeout: Duration,
}

/// Serves until `stop`, then lets the requests in flight finish. Dropping the future closes what is left.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    settings: Connections,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let counted = settings.callers == Callers::Api;
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    let mut full = false;
    loop {
        let is_full = connections.len() >= settings.most;
        if is_full && !full {
            let most = settings.most;
            tracing::warn!(most, "http.max_connections are open; further connections wait until one of them ends");
        }
        full = is_full;
        let stream = tokio::select! {
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: connections that end give some back.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let open = counted.then(Open::count);
        // Fails when the peer is gone already, which the next read finds out.
        let _ = stream.set_nodelay(true);
        let (requests, router) = (Requests::new(settings.idle_timeout), TowerToHyperService::new(router.clone()));
        let (stream, ended) = (TokioIo::new(requests.connection(stream)), requests.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let (requests, version) = (requests.clone(), request.version());
            let response = router.call(requests.watch(request));
            async move { Ok::<_, Infallible>(requests.settle(version, response.await?).await) }
        });
        let connection = http.serve_connection(stream, answer);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _open = open;
            // A client that goes away in the middle is no fault of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            ended.end().await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Allows as many open files as the system lets this process have, and answers how many connections fit into them besides files and
/// connections of the process's own.
#[must_use]
pub fn most_connections(asked: usize) -> usize {
    const OWN: u64 = 256;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let fits = current.map_or(asked, |files| usize::try_from(files.saturating_sub(OWN)).unwrap_or(asked)).max(1);
    if fits < asked {
        tracing::warn!(asked, fits, "http.max_connections: the limit of open files allows fewer; raise it (ulimit -n)");
    }
    fits.min(asked)
}

/// A connection that is counted as open. It belongs to the connection's task, so that it ends with it in every way: by either
/// side, by an error, by a panic, or when the drain is over and the task is dropped.
struct Open;

impl Open {
    fn count() -> Self {
        HTTP_CONNECTIONS.add((), 1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        HTTP_CONNECTIONS.add((), -1.0);
    }
}
