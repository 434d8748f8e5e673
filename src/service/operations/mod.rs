//! State of the parts that the service depends on, for operators, probes and metrics.

mod clock;
mod server;
mod volumes;

use std::sync::Arc;

use tokio::sync::Mutex;

use super::error::Error;
use super::jobs::JobService;
use super::partitions::PartitionService;
use crate::cache::Cache;
use crate::domain::clock::Clock;
use crate::domain::health::RedisStatus;
use crate::domain::improvement::Status;
use crate::store::improvements::{Depth, ImprovementStore};
use crate::store::maintenance::{Maintenance, MaintenanceStore};
use crate::telemetry::catalogue::database::{
    INDEXES_INVALID, INDEXES_UNUSED, ROWS_DEAD, ROWS_LIVE, ROWS_READ, STATISTICS_SINCE, TABLE_BYTES, XID_AGE,
};
use crate::telemetry::catalogue::labels::{Access, ImprovementState, Priority, Relation};
use crate::telemetry::catalogue::queue::{IMPROVEMENTS, OLDEST_QUEUED};
use crate::telemetry::catalogue::{figure, unix_seconds};
use crate::telemetry::theirs::Theirs;
use server::Snapshot;
pub(super) use volumes::Volumes;

/// Use cases of operations; cheap to clone.
#[derive(Debug, Clone)]
pub struct OperationsService {
    maintenance: MaintenanceStore,
    improvements: ImprovementStore,
    jobs: JobService,
    partitions: PartitionService,
    cache: Cache,
    clock: Arc<dyn Clock>,
    volumes: Arc<Volumes>,
    /// Standbys that the primary has; 0: as many as were connected.
    standbys: u32,
    /// Held during a measurement, of which one runs at a time.
    previous: Arc<Mutex<Snapshot>>,
}

/// The schema of the database, as far as it matters to this program.
#[derive(Debug, Clone)]
pub struct SchemaReport {
    /// The newest migration of the database.
    pub version: i64,
    /// Why this program cannot serve it, and what to do.
    pub obstacle: Option<String>,
    /// That it is newer than this program, and what to do.
    pub newer: Option<String>,
}

impl OperationsService {
    pub(super) fn new(
        (maintenance, improvements): (MaintenanceStore, ImprovementStore),
        (jobs, partitions): (JobService, PartitionService),
        cache: Cache,
        clock: Arc<dyn Clock>,
        volumes: Volumes,
        standbys: u32,
    ) -> Self {
        Self {
            maintenance,
            improvements,
            jobs,
            partitions,
            cache,
            clock,
            volumes: Arc::new(volumes),
            standbys,
            previous: Arc::default(),
        }
    }

    /// Measures how long the database takes to make a commit durable, for as long as it is polled.
    pub async fn watch_flushes(&self) {
        self.maintenance.watch_flushes().await;
    }

    /// The schema of the database, compared with the migrations of this binary.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn schema(&self) -> Result<SchemaReport, Error> {
        let schema = self.maintenance.schema().await?;
        let newer = schema.newer().map(|newer| newer.to_string());
        Ok(SchemaReport { version: schema.newest(), obstacle: schema.obstacle(), newer })
    }

    /// Checks that the database servers can be used as they are.
    ///
    /// # Errors
    /// [`Error::Database`]: they cannot, or none answers.
    pub async fn check_database(&self) -> Result<(), Error> {
        Ok(self.maintenance.check().await?)
    }

    /// Pings Redis with a longer timeout than a request has; `false`: not configured.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn probe_redis(&self) -> Result<bool, String> {
        self.cache.probe().await.map_err(|error| error.to_string())
    }

    /// Runs each command that the cache uses, on a key of its own that expires; which they are, in words.
    ///
    /// # Errors
    /// Those that Redis refuses, with the reasons.
    pub async fn probe_redis_commands(&self) -> Result<String, String> {
        self.cache.probe_commands().await
    }

    /// State of Redis, by the last calls.
    #[must_use]
    pub fn redis_status(&self) -> RedisStatus {
        self.cache.redis_status()
    }

    /// Publishes the gauges that are read at each scrape.
    pub fn publish(&self) {
        self.maintenance.publish_pools();
        self.cache.observe();
    }

    /// Statistics of PostgreSQL's maintenance of tables and indexes.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn maintenance(&self) -> Result<Maintenance, Error> {
        Ok(self.maintenance.statistics().await?)
    }

    /// Publishes the metrics that cost a query: partitions, tables, indexes, the queue's depth, and the servers' own
    /// statistics. Metrics whose query fails keep their last values.
    ///
    /// # Errors
    /// The first error of PostgreSQL. `dgm_cache_redis_up` reports whether Redis answers.
    pub async fn measure(&self) -> Result<(), Error> {
        let previous = &mut *self.previous.lock().await;
        self.cache.observe_redis(&mut previous.nodes).await;
        let parts = [
            self.partitions.publish().await,
            self.maintenance
                .statistics()
                .await
                .map(|statistics| publish_maintenance(&statistics, &mut previous.counters))
                .map_err(Error::from),
            self.jobs.publish().await,
            self.improvements.depths().await.map(|depths| publish_queue(&depths)).map_err(Error::from),
            self.publish_server(previous).await,
        ];
        parts.into_iter().collect()
    }
}

fn publish_queue(depths: &[Depth]) {
    for state in ImprovementState::ALL.iter().copied() {
        for priority in Priority::ALL.iter().copied() {
            let is_it = |depth: &&Depth| depth.status == Status::from(state) && depth.priority == priority.into();
            IMPROVEMENTS.set((state, priority), figure(depths.iter().find(is_it).map_or(0, |depth| depth.count)));
        }
    }
    let queued = depths.iter().filter(|depth| depth.status == Status::Queued);
    OLDEST_QUEUED.set((), queued.filter_map(|depth| depth.oldest).min().map_or(0.0, unix_seconds));
}

fn publish_maintenance(maintenance: &Maintenance, theirs: &mut Theirs) {
    for relation in Relation::ALL.iter().copied() {
        let Some(table) = maintenance.tables.iter().find(|table| table.name == relation.as_str()) else { continue };
        TABLE_BYTES.set((relation,), figure(table.bytes));
        ROWS_LIVE.set((relation,), figure(table.live));
        ROWS_DEAD.set((relation,), figure(table.dead));
        for (access, rows) in [(Access::Sequence, table.read_in_sequence), (Access::Index, table.read_by_index)] {
            theirs.count(&maintenance.server, &ROWS_READ, (relation, access), rows.unsigned_abs());
        }
    }
    INDEXES_INVALID.set((), figure(maintenance.indexes.iter().filter(|index| !index.valid).count()));
    INDEXES_UNUSED.set((), figure(maintenance.unused().count()));
    STATISTICS_SINCE.set((), maintenance.since.map_or(0.0, unix_seconds));
    XID_AGE.set((), f64::from(maintenance.xid_age));
}
