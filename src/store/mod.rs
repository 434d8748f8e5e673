//! The only home of SQL against the service's own database.

pub mod integrity;
pub mod migrate;
pub mod partitions;
pub mod pool;
