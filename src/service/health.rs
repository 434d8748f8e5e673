//! The parts as operators, jobs and probes see them.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Error, Service};
pub use crate::cache::RedisStatus;
use crate::domain::improvement::Status;
use crate::store::improvements::Depth;
pub use crate::store::jobs::{JobLock, JobRun, JobStart, Report};
pub use crate::store::upkeep::Upkeep;
use crate::telemetry::catalogue::database::{
    INDEXES_INVALID, INDEXES_UNUSED, ROWS_DEAD, ROWS_LIVE, ROWS_READ, STATISTICS_SINCE, TABLE_BYTES, XID_AGE,
};
use crate::telemetry::catalogue::jobs::{AnyJob, JOB_LAST_SUCCESS, Job, ReportedJob};
use crate::telemetry::catalogue::labels::{Access, ImprovementState, Priority, Relation};
use crate::telemetry::catalogue::queue::{IMPROVEMENTS, OLDEST_QUEUED};
use crate::telemetry::catalogue::{Label as _, figure};
use crate::telemetry::theirs::Theirs;

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

    /// Asks Redis, with patience, how it is; `false`: there is none.
    ///
    /// # Errors
    /// Why it does not answer, in words.
    pub async fn probe_redis(&self) -> Result<bool, String> {
        self.cache.probe().await.map_err(|error| error.to_string())
    }

    /// How Redis is, by the last calls.
    #[must_use]
    pub fn redis_status(&self) -> RedisStatus {
        self.cache.redis_status()
    }

    /// Publishes the gauges that are read from the parts at each scrape.
    pub fn observe(&self) {
        self.store.observe_pools();
        self.cache.observe();
    }

    /// Tables and indexes as PostgreSQL's housekeeping keeps them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn upkeep(&self) -> Result<Upkeep, Error> {
        Ok(self.store.upkeep().await?)
    }

    /// Publishes what costs a query: partitions, tables, indexes, the queue's depth, and what PostgreSQL and Redis tell of
    /// themselves. Each part is for itself; those that fail keep their last values.
    ///
    /// # Errors
    /// The first of PostgreSQL's. That Redis does not answer is told by `dgm_cache_redis_up`.
    pub async fn observe_database(&self) -> Result<(), Error> {
        let observed = &mut *self.observed.lock().await;
        self.cache.observe_redis(&mut observed.nodes).await;
        let parts = [
            self.store.partitions().await.map(|partitions| self.observe_partitions(&partitions)).map_err(Error::from),
            self.store.upkeep().await.map(|upkeep| observe_upkeep(&upkeep, &mut observed.theirs)).map_err(Error::from),
            self.observe_jobs().await,
            self.store.queue_depths().await.map(|depths| observe_queue(&depths)).map_err(Error::from),
            self.observe_server(observed).await,
        ];
        parts.into_iter().collect()
    }

    /// What ran in any process counts here, too: whoever asks one of them learns whether the work is done.
    async fn observe_jobs(&self) -> Result<(), Error> {
        let names: Vec<&str> = Job::all().map(Job::as_str).collect();
        for (name, at) in self.store.last_successes(&names).await? {
            JOB_LAST_SUCCESS.set((AnyJob::Scheduled(Job::of(&name)),), unix_seconds(at));
        }
        for (name, at) in self.store.reported(&ReportedJob::values()).await? {
            if let Some(job) = ReportedJob::ALL.iter().find(|job| job.as_str() == name) {
                JOB_LAST_SUCCESS.set((AnyJob::Reported(*job),), at.map_or(0.0, unix_seconds));
            }
        }
        Ok(())
    }

    /// Notes a run of a job outside the service, which ended now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn report_job(&self, report: &Report) -> Result<(), Error> {
        Ok(self.store.report_job(report).await?)
    }

    /// The right to run a job, unless another run of it is under way anywhere or this occurrence was run.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn start_job(
        &self,
        job: &'static str,
        instance: &str,
        occurrence: Option<DateTime<Utc>>,
    ) -> Result<JobStart, Error> {
        Ok(self.store.start_job(job, instance, occurrence).await?)
    }

    /// The latest occurrence of a job's schedule that was run, or is being run.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn last_occurrence(&self, job: &str) -> Result<Option<DateTime<Utc>>, Error> {
        Ok(self.store.last_occurrence(job).await?)
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

fn observe_queue(depths: &[Depth]) {
    for state in ImprovementState::ALL.iter().copied() {
        for priority in Priority::ALL.iter().copied() {
            let is_it = |depth: &&Depth| depth.status == Status::from(state) && depth.priority == priority.into();
            IMPROVEMENTS.set((state, priority), figure(depths.iter().find(is_it).map_or(0, |depth| depth.count)));
        }
    }
    let queued = depths.iter().filter(|depth| depth.status == Status::Queued);
    OLDEST_QUEUED.set((), queued.filter_map(|depth| depth.oldest).min().map_or(0.0, unix_seconds));
}

fn observe_upkeep(upkeep: &Upkeep, theirs: &mut Theirs) {
    for relation in Relation::ALL.iter().copied() {
        let Some(table) = upkeep.tables.iter().find(|table| table.name == relation.as_str()) else { continue };
        TABLE_BYTES.set((relation,), figure(table.bytes));
        ROWS_LIVE.set((relation,), figure(table.live));
        ROWS_DEAD.set((relation,), figure(table.dead));
        for (access, rows) in [(Access::Sequence, table.read_in_sequence), (Access::Index, table.read_by_index)] {
            theirs.count(&upkeep.server, &ROWS_READ, (relation, access), rows.unsigned_abs());
        }
    }
    INDEXES_INVALID.set((), figure(upkeep.indexes.iter().filter(|index| !index.valid).count()));
    INDEXES_UNUSED.set((), figure(upkeep.unused().count()));
    STATISTICS_SINCE.set((), upkeep.since.map_or(0.0, unix_seconds));
    XID_AGE.set((), f64::from(upkeep.xid_age));
}

/// Whole seconds since 1970.
pub(crate) fn unix_seconds(at: DateTime<Utc>) -> f64 {
    figure(at.timestamp())
}
