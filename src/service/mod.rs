//! Use cases. This layer owns validation, transactions' meaning and cache policy; it knows neither SQL nor HTTP.

pub mod archive;
pub mod artifacts;
pub mod changes;
pub mod error;
pub mod files;
pub mod forget;
pub mod health;
pub mod identity;
pub mod improvements;
mod labels;
pub mod logs;
pub mod parents;
pub mod partitions;
pub mod reading;
pub mod retention;
pub mod runs;
pub mod samples;
pub mod server;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use tokio::sync::Mutex;
use uuid::Uuid;

pub use error::Error;

use crate::cache::Cache;
use crate::domain::clock::Clock;
use crate::store::bucket::Bucket;
use crate::store::pool::Store;

/// What the use cases need to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Months that samples are kept.
    pub retention_months: u32,
    /// Months that have their partitions beforehand.
    pub premake_months: u32,
    /// Longest wait of retention for those who look at a partition.
    pub retention_patience: Duration,
    /// Where samples go before their partition is dropped; `None`: nowhere.
    pub export: Option<Bucket>,
    /// Where artifacts are kept; `None`: nowhere.
    pub artifacts: Option<artifacts::Storage>,
    /// Where log files are and how much of them is kept; `None`: there are none.
    pub logs: Option<logs::Retention>,
    /// How far in the future a sample may lie.
    pub max_future: TimeDelta,
    /// Bytes that entries in the form for parent selection may take.
    pub selection_max_bytes: usize,
    /// Life of a session.
    pub session_ttl: Duration,
}

/// The use cases; cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    store: Store,
    cache: Cache,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    wishes: reading::Wishes,
    pools: parents::Pools,
    /// Held while the parts are observed, which happens once at a time.
    observed: Arc<Mutex<server::Observed>>,
}

impl Service {
    /// Puts the parts together.
    #[must_use]
    pub fn new(store: Store, cache: Cache, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        let pools = parents::Pools::new(settings.selection_max_bytes);
        let (settings, wishes, observed) = (Arc::new(settings), reading::Wishes::default(), Arc::default());
        Self { store, cache, clock, settings, wishes, pools, observed }
    }

    /// Now, as exact as the database keeps it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(6)
    }
}

/// An id for a thing that its caller left unnamed; version 7, so that new rows lie together in the index (RFC 9562).
fn new_id() -> String {
    Uuid::now_v7().to_string()
}
