//! The one integration binary: real servers, started by the run and ended with it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod ceiling;
mod closed_sets;
mod cluster;
mod coherence;
mod containers;
mod dev;
mod durability;
mod forget;
mod http;
mod job_rows;
mod jobs;
mod kubernetes;
mod loadtest;
mod migrations;
mod observability;
mod plans;
mod replica;
mod reported;
mod runs;
mod schema_reference;
mod serve;
mod support;
mod telemetry;
mod time_travel;
mod tls;
mod traces;
mod zipf;
