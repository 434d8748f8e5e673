//! The API, over a socket, against a real database.

mod archive;
mod artifact_locks;
mod artifacts;
mod bad_input;
mod connections;
mod document;
mod hangups;
mod hostile_requests;
mod identity;
mod improvements;
mod labels;
mod memory;
mod messages;
mod metrics;
mod operations;
mod proxy;
mod reading;
mod refusals;
mod snapshots;
mod status;
mod surface;
mod timeouts;
