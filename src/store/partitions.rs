//! Monthly partitions of `dgm_performance_metrics`.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Error;
use super::pool::{Store, timed, timed_rows};
use crate::closed::wire;
use crate::telemetry::catalogue::statements::{Statement, sql};

const ENSURE: &str = sql!(PartitionEnsure, "SELECT create_monthly_partition('dgm_performance_metrics', $1)");
/// One that is dropped meanwhile has no size any more.
const ALL: &str = sql!(
    PartitionStatus,
    "
    SELECT c.relname::text, coalesce(pg_get_expr(c.relpartbound, c.oid), ''), c.reltuples::bigint,
        coalesce(pg_total_relation_size(c.oid), 0), i.inhdetachpending
    FROM pg_class p JOIN pg_class c ON c.relnamespace = p.relnamespace AND c.relkind = 'r'
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = p.oid
    WHERE p.oid = 'dgm_performance_metrics'::regclass
      AND (i.inhrelid IS NOT NULL OR c.relname ~ '^dgm_performance_metrics_[0-9]{4}_[0-9]{2}$')
    ORDER BY c.relname"
);

wire! {
    /// What a partition is to its parent.
    #[schema(as = PartitionState)]
    pub State "state of a partition" {
        /// A part of it.
        Attached "attached",
        /// Its detachment was interrupted: readers pass by it, and it can be finished.
        Detaching "detaching",
        /// A table of its own, left over between detaching and dropping.
        Detached "detached",
    }
}

/// A partition as the catalogue of the database has it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Partition {
    /// The table's name.
    pub name: String,
    /// The month that it holds, by its name; `None` for one that was made by hand under another.
    pub month: Option<NaiveDate>,
    /// What it is to its parent.
    pub state: State,
    /// Its bounds, in PostgreSQL's words; empty when it is detached.
    pub bounds: String,
    /// Rows, by the planner's estimate (-1: never analysed).
    pub rows: i64,
    /// Size with indexes and TOAST, in bytes.
    pub bytes: i64,
}

impl Store {
    /// Makes the partitions of the month of `now` and of the `ahead` months after it; answers how many were new.
    ///
    /// # Errors
    /// The server's; the months made before the failing one stay.
    pub async fn ensure_partitions(&self, now: DateTime<Utc>, ahead: u32) -> Result<usize, Error> {
        // Those that are known, too: one may have been removed by hand since.
        self.make_months((0..=ahead).filter_map(|offset| month_after(now, offset))).await
    }

    /// Makes the partitions of months that are not known to exist.
    pub(super) async fn ensure_months(&self, months: impl IntoIterator<Item = NaiveDate>) -> Result<usize, Error> {
        let mut missing: BTreeSet<NaiveDate> = months.into_iter().collect();
        if let Ok(known) = self.months.lock() {
            missing.retain(|month| !known.contains(month));
        }
        self.make_months(missing).await
    }

    async fn make_months(&self, months: impl IntoIterator<Item = NaiveDate>) -> Result<usize, Error> {
        let mut made = 0;
        for month in months {
            let mut connection = self.acquire().await?;
            let query = sqlx::query_scalar(ENSURE).bind(month).fetch_one(&mut *connection);
            let new: bool = timed(Statement::PartitionEnsure, query).await?;
            made += usize::from(new);
            if let Ok(mut known) = self.months.lock() {
                known.insert(month);
            }
        }
        Ok(made)
    }

    /// Forgets which months have a partition, after one was found gone.
    pub(super) fn forget_months(&self) {
        if let Ok(mut known) = self.months.lock() {
            known.clear();
        }
    }

    /// Every partition, and every table that was one, oldest first.
    ///
    /// # Errors
    /// The server's.
    pub async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query_as(ALL).fetch_all(&mut *connection);
        let rows: Vec<(String, String, i64, i64, Option<bool>)> = timed_rows(Statement::PartitionStatus, query).await?;
        let partition = |(name, bounds, rows, bytes, detaching): (String, _, _, _, _)| {
            let month = name.strip_prefix("dgm_performance_metrics_").and_then(|month| {
                let (year, month) = month.split_once('_')?;
                NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)
            });
            let state = match detaching {
                Some(false) => State::Attached,
                Some(true) => State::Detaching,
                None => State::Detached,
            };
            Partition { name, month, state, bounds, rows, bytes }
        };
        Ok(rows.into_iter().map(partition).collect())
    }
}

impl Partition {
    /// The first day that lies after it; `None` for one whose month is not known.
    #[must_use]
    pub fn end(&self) -> Option<NaiveDate> {
        self.month?.checked_add_months(Months::new(1))
    }
}

/// The months of those that are attached.
pub fn attached(partitions: &[Partition]) -> impl Iterator<Item = NaiveDate> {
    partitions.iter().filter(|partition| partition.state == State::Attached).filter_map(|partition| partition.month)
}

/// The first day for which there is no partition yet; `None` without any.
#[must_use]
pub fn horizon(partitions: &[Partition]) -> Option<NaiveDate> {
    attached(partitions).max()?.checked_add_months(Months::new(1))
}

/// The first day of the month that a time lies in, by UTC.
#[must_use]
pub fn month_of(at: DateTime<Utc>) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(at.year(), at.month(), 1)
}

fn month_after(now: DateTime<Utc>, offset: u32) -> Option<NaiveDate> {
    month_of(now)?.checked_add_months(Months::new(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_roll_over_the_year_from_a_long_month_s_last_day() {
        let now = "2027-12-31T23:59:59Z".parse().unwrap();
        let months: Vec<_> = (0..3).map(|offset| month_after(now, offset).unwrap().to_string()).collect();
        assert_eq!(months, ["2027-12-01", "2028-01-01", "2028-02-01"]);
    }
}
