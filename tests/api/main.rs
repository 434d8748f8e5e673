//! What callers and operators see of a service whose servers are well: HTTP, command line, jobs, telemetry.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod closed_sets;
mod dev;
mod doctor;
mod exports;
mod forget;
mod http;
mod jobs;
mod loadtest;
mod plans;
mod reported;
mod roles;
mod runs;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod telemetry;
mod time_travel;
mod tls;
mod traces;
