//! What can be seen of the process: metrics, traces, logs.

pub mod catalogue;
pub mod context;
pub mod files;
mod init;
mod json;
mod otlp;
pub mod recorder;
pub mod reference;
mod sending;
pub mod spans;

pub use init::{Error, Guard, LogFormat, Settings, init};
