//! The API, over a socket, against a real database.

mod archive;
mod artifacts;
mod bad_input;
mod connections;
mod hangups;
mod identity;
mod improvements;
mod labels;
mod metrics;
mod operations;
mod proxy;
mod reading;
mod snapshots;
mod status;
mod surface;
