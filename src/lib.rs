//! `dgm-service`: archive, improvement queue and performance metrics for self-improving agent loops.
//!
//! The layers and who may use whom stand in docs/ARCHITECTURE.md; `tests/it/architecture.rs` enforces them.

pub mod app;
pub mod cache;
pub mod cli;
mod closed;
pub mod config;
pub mod domain;
pub mod http;
pub mod interchange;
pub mod jobs;
pub mod observability;
pub mod postgres;
pub mod service;
pub mod store;
pub mod telemetry;
mod tls;
