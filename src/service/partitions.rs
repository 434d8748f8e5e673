//! Partitions of the samples, as jobs and operators see them.

use std::collections::BTreeSet;

use chrono::{Months, NaiveDate};

use super::{Error, Service};
use crate::domain::sample::Window;
pub use crate::store::partitions::{Partition, State, horizon};
use crate::store::partitions::{attached, month_of};
use crate::telemetry::catalogue::database::{
    PARTITION_HORIZON, PARTITION_OLDEST, PARTITION_PREMAKE, PARTITIONS, PARTITIONS_BYTES, PARTITIONS_DETACHED,
    PARTITIONS_EXPIRED, PARTITIONS_MISSING,
};
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::Table;

pub(super) const TABLE: (Table,) = (Table::PerformanceMetrics,);

impl Service {
    /// Makes the partitions of this month and of the months to be made ahead; answers how many were new.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ensure_partitions(&self) -> Result<usize, Error> {
        Ok(self.store.ensure_partitions(self.now(), self.settings.premake_months).await?)
    }

    /// Every partition, and every table that was one, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        Ok(self.store.partitions().await?)
    }

    /// Whether nothing in a partition is kept any more: it ends before the oldest sample that is still taken in.
    #[must_use]
    pub fn is_expired(&self, partition: &Partition) -> bool {
        let window = Window::around(self.now(), self.settings.retention_months, self.settings.max_future);
        partition.end().is_some_and(|end| end <= window.from.date_naive())
    }

    /// Publishes how the partitions are.
    pub(super) fn observe_partitions(&self, partitions: &[Partition]) {
        let whole = partitions.iter().filter(|partition| partition.state == State::Attached).count();
        PARTITIONS.set(TABLE, figure(whole));
        PARTITIONS_DETACHED.set(TABLE, figure(partitions.len() - whole));
        PARTITIONS_EXPIRED.set(TABLE, figure(partitions.iter().filter(|partition| self.is_expired(partition)).count()));
        PARTITIONS_BYTES.set(TABLE, figure(partitions.iter().map(|partition| partition.bytes).sum::<i64>()));
        // A month that was just begun has not all of those to be made ahead before the job makes it.
        let next = month_of(self.now()).and_then(|this| this.checked_add_months(Months::new(1)));
        let missing = self.missing_months(partitions).into_iter().filter(|month| Some(*month) <= next).count();
        PARTITIONS_MISSING.set(TABLE, figure(missing));
        PARTITION_PREMAKE.set(TABLE, f64::from(self.settings.premake_months));
        PARTITION_HORIZON.set(TABLE, horizon(partitions).map_or(0.0, unix));
        PARTITION_OLDEST.set(TABLE, attached(partitions).min().map_or(0.0, unix));
    }

    /// The months without a partition from this one up to those to be made ahead. Earlier months get theirs with their first
    /// sample.
    #[must_use]
    pub fn missing_months(&self, partitions: &[Partition]) -> Vec<NaiveDate> {
        let there: BTreeSet<NaiveDate> = attached(partitions).collect();
        let Some(this) = month_of(self.now()) else { return Vec::new() };
        let months = (0..=self.settings.premake_months).filter_map(|ahead| this.checked_add_months(Months::new(ahead)));
        months.filter(|month| !there.contains(month)).collect()
    }
}

fn unix(day: NaiveDate) -> f64 {
    super::health::unix_seconds(day.and_time(chrono::NaiveTime::MIN).and_utc())
}
