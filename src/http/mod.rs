//! The HTTP surface; the only home of axum.

pub mod access;
mod extract;
mod observe;
mod openapi;
mod ops;
pub mod problem;
mod router;
mod server;
mod v1;

use tokio_util::sync::CancellationToken;

pub use openapi::document;
pub use router::{api, operations};
pub use server::serve;

use crate::service::Service;

/// How the surface behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether callers must show a token.
    pub authenticate: bool,
    /// Whether only names of the loopback interface are answered for.
    pub loopback_hosts_only: bool,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
}

/// What handlers share.
#[derive(Debug, Clone)]
pub struct State {
    /// The use cases.
    pub service: Service,
    /// How the surface behaves.
    pub options: Options,
    /// Cancelled when the process is about to stop: readiness turns false first, so that balancers look elsewhere.
    pub unready: CancellationToken,
    /// Cancelled when the listeners close: streams end, so that the drain does not wait for them.
    pub stopping: CancellationToken,
}
