//! Restoring exported samples into the partition of their month.

use std::time::Duration;

use chrono::NaiveDate;

use super::PartitionStore;
use crate::db::{Error, retrying, timed};
use crate::domain::partition::{Partition, PartitionState};
use crate::domain::sample::Sample;
use crate::telemetry::catalogue::statements::{Statement, sql};

const RESTORE: &str = sql!(
    SamplesInsert,
    "INSERT INTO dgm_performance_metrics
        (id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::timestamptz[], $6::text[], $7::timestamptz[])
     ON CONFLICT DO NOTHING"
);

/// Longest wait for the transactions that may still read a partition whose detachment was interrupted.
const PATIENCE: Duration = Duration::from_mins(1);

impl PartitionStore {
    /// Stores samples of one month with their ids and times, all or none, and returns the number of new ones. A missing partition is
    /// created; one that retention detached is attached again.
    ///
    /// # Errors
    /// The server's.
    pub async fn restore(&self, month: NaiveDate, samples: &[Sample]) -> Result<u64, Error> {
        self.ensure_months([month]).await?;
        match retrying(|| self.insert_exported(samples)).await {
            // Dropped or detached since this process saw it, or left half detached.
            Err(Error::NoPartition) => {
                self.forget_months();
                let is_half = |p: &Partition| p.month == Some(month) && p.state == PartitionState::Detaching;
                if let Some(partition) = self.list().await?.into_iter().find(is_half) {
                    self.detach(&partition, PATIENCE).await?;
                }
                self.ensure_months([month]).await?;
                retrying(|| self.insert_exported(samples)).await
            }
            other => other,
        }
    }

    async fn insert_exported(&self, samples: &[Sample]) -> Result<u64, Error> {
        fn column<'a, T>(samples: &'a [Sample], of: impl Fn(&'a Sample) -> T) -> Vec<T> {
            samples.iter().map(of).collect()
        }
        let mut connection = self.database.writing.acquire().await?;
        let query = sqlx::query(RESTORE)
            .bind(column(samples, |sample| sample.id))
            .bind(column(samples, |sample| sample.service_name.as_str()))
            .bind(column(samples, |sample| sample.metric_type.as_str()))
            .bind(column(samples, |sample| sample.metric_value))
            .bind(column(samples, |sample| sample.measurement_timestamp))
            .bind(column(samples, |sample| sample.archive_entry_id.as_deref()))
            .bind(column(samples, |sample| sample.created_at))
            .execute(&mut *connection);
        Ok(timed(Statement::SamplesInsert, query).await?.rows_affected())
    }
}
