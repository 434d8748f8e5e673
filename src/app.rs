//! The composition root: the layers are put together here, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{self, State};
use crate::store::pool::Store;

/// How long requests in flight may take once the process was told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// A service whose listeners are bound and not yet served.
#[derive(Debug)]
pub struct App {
    state: State,
    listeners: Vec<TcpListener>,
}

impl App {
    /// Binds every address.
    ///
    /// # Errors
    /// Names the address that cannot be bound.
    pub async fn bind(store: Store, addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.push(TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?);
        }
        Ok(Self { state: State { store, stopping: Arc::new(AtomicBool::new(false)) }, listeners })
    }

    /// Serves until SIGINT or SIGTERM, then drains: readiness false, requests in flight answered, connections closed.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let (stop, stopped) = watch::channel(false);
        let mut servers = tokio::task::JoinSet::new();
        for listener in self.listeners {
            let mut stopped = stopped.clone();
            servers.spawn(http::serve(listener, self.state.clone(), async move {
                let _ = stopped.wait_for(|stopped| *stopped).await;
            }));
        }
        tokio::select! {
            signal = asked_to_stop() => signal?,
            Some(ended) = servers.join_next() => ended??,
        }
        self.state.stopping.store(true, Ordering::Relaxed);
        let _ = stop.send(true);
        let drained = async { while servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_DEADLINE, drained).await.is_err() {
            eprintln!("dgm: requests still ran after {DRAIN_DEADLINE:?}; their connections are closed");
        }
        self.state.store.close().await;
        Ok(())
    }
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
