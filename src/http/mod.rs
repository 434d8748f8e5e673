//! The HTTP surface; the only home of axum.

mod ops;
mod problem;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::store::pool::Store;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct State {
    /// The database.
    pub store: Store,
    /// Set when the process is about to stop: readiness turns false first, so that balancers look elsewhere.
    pub stopping: Arc<AtomicBool>,
}

fn router(state: State) -> Router {
    Router::new()
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(state)
}

/// Serves one listener until `stop` resolves and the requests in flight are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: State,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(stop).await
}
