//! What is built and loaded elsewhere: architecture, generated documents, migrations, images, manifests, monitoring.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod ceiling;
mod containers;
mod job_rows;
mod kubernetes;
mod migrations;
mod newer_schema;
mod observability;
mod schema_reference;
#[path = "../support/mod.rs"]
mod support;
