//! Serving one listener. `axum::serve` sets no timer, so that a client could send its head for ever (slow-loris), and
//! waits without limit at the end; hence hyper itself.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::linger::Unread;
use crate::telemetry::catalogue::http::HTTP_CONNECTIONS;

/// Whose connections a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Those of the API; how many are open is counted.
    Api,
    /// Those who run the service. They are few, and whoever scrapes would count itself.
    Operators,
}

/// Serves until `stop`, then lets the requests in flight finish. Dropping the future closes what is left.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    callers: Callers,
    router: Router,
    header_timeout: Duration,
    stop: CancellationToken,
) -> io::Result<()> {
    let counted = callers == Callers::Api;
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
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
        let (unread, router) = (Unread::default(), TowerToHyperService::new(router.clone()));
        let stream = TokioIo::new(unread.connection(stream));
        let answer = service_fn(move |request: Request<Incoming>| router.call(request.map(|body| unread.watch(body))));
        let connection = http.serve_connection(stream, answer);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _open = open;
            // A client that goes away in the middle is no fault of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
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
