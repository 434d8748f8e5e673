//! Partitions of the samples: creating, listing and measuring them, and retention.

mod exports;
mod import;
mod retention;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Months, NaiveDate, NaiveTime, Utc};
use tokio::sync::watch;

pub use import::{ImportError, Imported, Progress};
pub use retention::{Dropped, Retention};

use super::error::Error;
use super::settings::SampleWindow;
use crate::domain::clock::Clock;
use crate::domain::health::ExportsStatus;
use crate::domain::partition::{Kept, Partition, PartitionState, attached, horizon, month_of};
use crate::objects::Bucket;
use crate::store::partitions::PartitionStore;
use crate::telemetry::catalogue::database::{
    PARTITION_HORIZON, PARTITION_OLDEST, PARTITION_PREMAKE, PARTITIONS, PARTITIONS_BYTES, PARTITIONS_DETACHED,
    PARTITIONS_EXPIRED, PARTITIONS_MISSING,
};
use crate::telemetry::catalogue::labels::Table;
use crate::telemetry::catalogue::{figure, unix_seconds};

const TABLE: (Table,) = (Table::PerformanceMetrics,);

/// Settings of partitions and their retention.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Months whose partitions are created ahead.
    pub(super) premake_months: u32,
    /// How long retention waits for transactions that read a partition.
    pub(super) retention_timeout: Duration,
    /// Where samples are exported before their partition is dropped; `None`: nowhere.
    pub(super) exports: Option<Bucket>,
    pub(super) window: SampleWindow,
}

/// Use cases of partitions; cheap to clone.
#[derive(Debug, Clone)]
pub struct PartitionService {
    partitions: PartitionStore,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    exports_status: watch::Sender<ExportsStatus>,
}

impl PartitionService {
    pub(super) fn new(partitions: PartitionStore, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        let status = if settings.exports.is_some() { ExportsStatus::Unknown } else { ExportsStatus::Disabled };
        Self { partitions, clock, settings: Arc::new(settings), exports_status: watch::Sender::new(status) }
    }

    /// Creates the partitions of this month and of the months ahead, and returns the number of new ones.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ensure(&self) -> Result<usize, Error> {
        let now = self.clock.read().await?.now;
        Ok(self.partitions.ensure(now, self.settings.premake_months).await?)
    }

    /// Every partition, and every table that was one, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Partition>, Error> {
        Ok(self.partitions.list().await?)
    }

    /// Whether nothing in a partition is kept any more: it is past, and no hold keeps it.
    #[must_use]
    pub fn is_expired(&self, partition: &Partition) -> bool {
        partition.is_expired(self.kept(self.clock.timestamp()))
    }

    /// What is kept at a moment: whole days.
    fn kept(&self, now: DateTime<Utc>) -> Kept {
        let from = self.settings.window.around(now).from.date_naive().and_time(NaiveTime::MIN).and_utc();
        Kept { now, from }
    }

    /// Publishes the gauges of the partitions.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn publish(&self) -> Result<(), Error> {
        let partitions = &self.partitions.list().await?;
        // A month that was imported comes and goes apart from the window, and is not one that is missing then.
        let kept = self.kept(self.clock.timestamp());
        let imported = |partition: &Partition| partition.held_until.is_some() && partition.is_past(kept);
        let is_whole = |partition: &&Partition| partition.state == PartitionState::Attached;
        let of_window: Vec<Partition> = partitions.iter().filter(|partition| !imported(partition)).cloned().collect();
        PARTITIONS.set(TABLE, figure(of_window.iter().filter(is_whole).count()));
        PARTITIONS_DETACHED.set(TABLE, figure(partitions.iter().filter(|partition| !is_whole(partition)).count()));
        PARTITIONS_EXPIRED.set(TABLE, figure(partitions.iter().filter(|partition| self.is_expired(partition)).count()));
        PARTITIONS_BYTES.set(TABLE, figure(partitions.iter().map(|partition| partition.bytes).sum::<i64>()));
        // A month that was just begun has not all of those to be made ahead before the job makes it.
        let next = month_of(self.clock.timestamp()).and_then(|this| this.checked_add_months(Months::new(1)));
        let missing = self.missing_months(partitions).into_iter().filter(|month| Some(*month) <= next).count();
        PARTITIONS_MISSING.set(TABLE, figure(missing));
        PARTITION_PREMAKE.set(TABLE, f64::from(self.settings.premake_months));
        PARTITION_HORIZON.set(TABLE, horizon(partitions).map_or(0.0, unix));
        PARTITION_OLDEST.set(TABLE, attached(&of_window).min().map_or(0.0, unix));
        Ok(())
    }

    /// The months without a partition from this one up to those to be made ahead. Earlier months get theirs with their first
    /// sample.
    #[must_use]
    pub fn missing_months(&self, partitions: &[Partition]) -> Vec<NaiveDate> {
        let there: BTreeSet<NaiveDate> = attached(partitions).collect();
        let Some(this) = month_of(self.clock.timestamp()) else { return Vec::new() };
        let months = (0..=self.settings.premake_months).filter_map(|ahead| this.checked_add_months(Months::new(ahead)));
        months.filter(|month| !there.contains(month)).collect()
    }
}

fn unix(day: NaiveDate) -> f64 {
    unix_seconds(day.and_time(chrono::NaiveTime::MIN).and_utc())
}
