//! The parts as operators, jobs and probes see them.

use chrono::{DateTime, Months, NaiveDate, TimeDelta, Utc};

use super::{Error, Service};
pub use crate::cache::RedisStatus;
pub use crate::store::jobs::{JobLock, JobRun};
use crate::telemetry::catalogue::database::{PARTITION_HORIZON, PARTITION_OLDEST, PARTITIONS};
use crate::telemetry::catalogue::labels::{ImprovementState, Table};
use crate::telemetry::catalogue::queue::{IMPROVEMENTS, OLDEST_QUEUED};

impl Service {
    /// The newest applied migration and the newest that this binary knows: `(applied, known)`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when the database was never migrated.
    pub async fn schema_version(&self) -> Result<(i64, i64), Error> {
        Ok(self.store.schema_version().await?)
    }

    /// How far this process's clock is ahead of the database's.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn clock_skew(&self) -> Result<TimeDelta, Error> {
        Ok(self.store.clock_skew(self.now()).await?)
    }

    /// Asks Redis, with patience, how it is.
    pub async fn probe_redis(&self) -> RedisStatus {
        self.cache.probe().await;
        self.cache.redis_status()
    }

    /// How Redis is, by the last calls.
    #[must_use]
    pub fn redis_status(&self) -> RedisStatus {
        self.cache.redis_status()
    }

    /// Publishes the gauges that are read from the parts at each scrape.
    pub fn observe(&self) {
        self.store.observe_pool();
        self.cache.observe();
    }

    /// Publishes the gauges that cost a query: partitions and the queue's depth.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the gauges keep their last values.
    pub async fn observe_database(&self) -> Result<(), Error> {
        let partitions = self.store.partitions().await?;
        let table = (Table::PerformanceMetrics,);
        PARTITIONS.set(table, f64::from(u32::try_from(partitions.len()).unwrap_or(u32::MAX)));
        let months = || partitions.iter().filter_map(|partition| partition.month);
        let end = months().max().and_then(|last| last.checked_add_months(Months::new(1)));
        PARTITION_HORIZON.set(table, end.map_or(0.0, unix));
        PARTITION_OLDEST.set(table, months().min().map_or(0.0, unix));
        let depths = self.store.queue_depths().await?;
        for (state, word) in [(ImprovementState::Queued, "queued"), (ImprovementState::Running, "running")] {
            let found = depths.iter().find(|(status, ..)| status == word);
            let count = found.map_or(0, |(_, count, _)| *count);
            IMPROVEMENTS.set((state,), f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
            if word == "queued" {
                OLDEST_QUEUED.set((), found.and_then(|(.., oldest)| *oldest).map_or(0.0, unix_seconds));
            }
        }
        Ok(())
    }

    /// The right to run a job; `None` when another run of it is under way anywhere.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn start_job(&self, job: &'static str, instance: &str) -> Result<Option<JobLock>, Error> {
        Ok(self.store.start_job(job, instance).await?)
    }

    /// The newest runs, of one job or of all.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn job_runs(&self, job: Option<&str>, limit: i64) -> Result<Vec<JobRun>, Error> {
        Ok(self.store.job_runs(job, limit).await?)
    }

    /// Closes the connections; what is under way finishes first.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

fn unix(day: NaiveDate) -> f64 {
    unix_seconds(day.and_time(chrono::NaiveTime::MIN).and_utc())
}

/// Whole seconds since 1970, exact in a double for the next hundred million years.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn unix_seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}
