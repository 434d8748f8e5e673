//! `dgm-service`: archive, improvement queue and performance metrics for self-improving agent loops.
//!
//! The layers and who may use whom stand in docs/ARCHITECTURE.md; `tests/it/architecture.rs` enforces them.

pub mod app;
pub mod cli;
pub mod http;
pub mod postgres;
pub mod store;
