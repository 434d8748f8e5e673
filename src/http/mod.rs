//! The HTTP surface; the only home of axum.

pub mod access;
mod compress;
mod extract;
mod linger;
mod observe;
mod openapi;
mod ops;
pub mod problem;
mod refused_head;
mod requests;
mod router;
mod server;
mod state;
mod status;
mod v1;

pub use router::{api, define_labels, document, operations};
pub use server::{Callers, Connections, most_connections, serve};
pub use state::{Options, State};
