//! `dgm-service`: archive, improvement queue and performance metrics for self-improving agent loops.
//!
//! docs/ARCHITECTURE.md describes the layers and their dependencies; the architecture test enforces them.

pub mod app;
pub mod batch;
pub mod cache;
pub mod cli;
mod closed;
pub mod config;
pub mod db;
pub mod domain;
pub mod http;
pub mod interchange;
pub mod jobs;
pub mod objects;
pub mod observability;
pub mod postgres;
pub mod service;
pub mod store;
pub mod telemetry;
mod tls;
