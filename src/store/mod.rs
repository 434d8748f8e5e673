//! The only home of SQL against the service's own database.

pub mod archive;
pub mod artifacts;
pub mod bucket;
mod connections;
pub mod error;
pub mod feed;
mod follow;
pub mod forget;
pub mod improvements;
pub mod integrity;
pub mod jobs;
pub mod migrate;
pub mod partitions;
pub mod pool;
mod replica;
pub mod retention;
pub mod samples;
pub mod server;
mod text;
pub mod tokens;
pub mod upkeep;
mod writer;

/// A name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
