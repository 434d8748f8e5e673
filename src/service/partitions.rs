//! Partitions of the samples, as jobs and operators see them.

use chrono::{Months, NaiveDate};

use super::{Error, Service};
use crate::domain::sample::Window;
use crate::store::partitions::month_of;
pub use crate::store::partitions::{Partition, State};
use crate::telemetry::catalogue::database::{
    PARTITION_DROP_FAILURES, PARTITION_HORIZON, PARTITION_OLDEST, PARTITIONS, PARTITIONS_BYTES, PARTITIONS_DETACHED,
    PARTITIONS_DROPPED, PARTITIONS_EXPIRED, PARTITIONS_MISSING,
};
use crate::telemetry::catalogue::labels::Table;

const TABLE: (Table,) = (Table::PerformanceMetrics,);

/// What retention did, or would do.
#[derive(Debug, Default)]
pub struct Retention {
    /// Names of the partitions that were dropped.
    pub dropped: Vec<String>,
    /// Name of the one that could not be, with the reason; those after it were not tried, since PostgreSQL detaches one at a
    /// time.
    pub failed: Option<(String, String)>,
}

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

    /// Drops the partitions of months that are no longer kept, oldest first, until one cannot be: a long transaction
    /// looks at it. The next call goes on there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the partitions cannot be listed.
    pub async fn enforce_retention(&self) -> Result<Retention, Error> {
        let mut done = Retention::default();
        let patience = self.settings.retention_patience;
        let mut expired = self.partitions().await?;
        expired.retain(|partition| self.is_expired(partition));
        // What was begun comes first, or nothing else can begin.
        expired.sort_by_key(|partition| partition.state != State::Detaching);
        for partition in expired {
            match self.store.drop_partition(&partition, patience).await {
                Ok(()) => {
                    PARTITIONS_DROPPED.increment(TABLE);
                    tracing::info!(partition = partition.name, bytes = partition.bytes, "no longer kept: dropped");
                    done.dropped.push(partition.name);
                }
                Err(error) => {
                    PARTITION_DROP_FAILURES.increment(TABLE);
                    let reason = if error.is_timeout() {
                        format!("transactions that look at it did not end within {patience:?}")
                    } else {
                        error.to_string()
                    };
                    tracing::warn!(partition = partition.name, reason, "no longer kept, and cannot be dropped");
                    done.failed = Some((partition.name, reason));
                    break;
                }
            }
        }
        Ok(done)
    }

    /// Publishes how the partitions are.
    pub(super) fn observe_partitions(&self, partitions: &[Partition]) {
        let gauge = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let with = |state| partitions.iter().filter(move |partition| partition.state == state);
        let attached: Vec<NaiveDate> = with(State::Attached).filter_map(|partition| partition.month).collect();
        PARTITIONS.set(TABLE, gauge(with(State::Attached).count()));
        PARTITIONS_DETACHED.set(TABLE, gauge(with(State::Detached).chain(with(State::Detaching)).count()));
        PARTITIONS_EXPIRED.set(TABLE, gauge(partitions.iter().filter(|partition| self.is_expired(partition)).count()));
        let bytes = partitions.iter().map(|partition| partition.bytes / 1024).sum::<i64>();
        PARTITIONS_BYTES.set(TABLE, f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) * 1024.0);
        PARTITIONS_MISSING.set(TABLE, gauge(self.missing_months(&attached).len()));
        let end = attached.iter().max().and_then(|last| last.checked_add_months(Months::new(1)));
        PARTITION_HORIZON.set(TABLE, end.map_or(0.0, unix));
        PARTITION_OLDEST.set(TABLE, attached.iter().min().copied().map_or(0.0, unix));
    }

    /// The months without a partition from the oldest partition, or this month, up to those to be made ahead.
    #[must_use]
    pub fn missing_months(&self, attached: &[NaiveDate]) -> Vec<NaiveDate> {
        let Some(this) = month_of(self.now()) else { return Vec::new() };
        let first = attached.iter().min().copied().unwrap_or(this).min(this);
        let months = (0..).map_while(|offset| first.checked_add_months(Months::new(offset)));
        let last = this.checked_add_months(Months::new(self.settings.premake_months)).unwrap_or(this);
        months.take_while(|month| *month <= last).filter(|month| !attached.contains(month)).collect()
    }
}

fn unix(day: NaiveDate) -> f64 {
    super::health::unix_seconds(day.and_time(chrono::NaiveTime::MIN).and_utc())
}
