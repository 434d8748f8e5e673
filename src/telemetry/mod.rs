//! What can be seen of the process: metrics, traces, logs.

pub mod catalogue;
pub mod context;
pub mod files;
mod init;
mod json;
mod otlp;
mod panics;
pub mod process;
pub mod recorder;
mod sending;
pub mod spans;
pub mod theirs;

pub use init::{Error, Guard, LogFormat, Settings, init};
