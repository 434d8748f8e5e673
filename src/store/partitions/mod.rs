//! Monthly partitions of `dgm_performance_metrics`: creating, listing, detaching, reading, restoring and dropping them, and the
//! holds that keep them.

mod detach;
mod holds;
mod reader;
mod restore;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate, Utc};

pub use reader::SampleReader;

use crate::db::{Database, Error, timed, timed_rows};
use crate::domain::partition::{Partition, PartitionState, month_after};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// As the owner of the table, if this role is a member of it: the partition belongs to that owner, too, so that every member can drop it.
/// The role is set until the end of the transaction, which is this statement.
const ENSURE: &str = sql!(
    PartitionEnsure,
    "
    WITH owner AS MATERIALIZED (
        SELECT CASE WHEN pg_has_role(relowner, 'MEMBER') THEN set_config('role', pg_get_userbyid(relowner), true) END AS name
        FROM pg_class WHERE oid = 'dgm_performance_metrics'::regclass)
    SELECT create_monthly_partition('dgm_performance_metrics', $1) FROM owner WHERE name IS DISTINCT FROM ''"
);
/// One that is dropped meanwhile has no size any more.
const ALL: &str = sql!(
    PartitionStatus,
    "
    SELECT c.relname::text, coalesce(pg_get_expr(c.relpartbound, c.oid), ''), c.reltuples::bigint,
        coalesce(pg_total_relation_size(c.oid), 0), i.inhdetachpending,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz,
        h.held_until, coalesce(h.held_until > clock_timestamp(), false)
    FROM pg_class p JOIN pg_class c ON c.relnamespace = p.relnamespace AND c.relkind = 'r'
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = p.oid
    LEFT JOIN dgm_partition_holds h ON c.relname = 'dgm_performance_metrics_' || to_char(h.month, 'YYYY_MM')
    WHERE p.oid = 'dgm_performance_metrics'::regclass
      AND (i.inhrelid IS NOT NULL OR c.relname ~ '^dgm_performance_metrics_[0-9]{4}_[0-9]{2}$')
    ORDER BY c.relname"
);

type Row = (String, String, i64, i64, Option<bool>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, bool);

/// Partitions; cheap to clone.
#[derive(Debug, Clone)]
pub struct PartitionStore {
    database: Database,
    /// Months known to have a partition, so that an insert need not ask. A partition that retention dropped is noticed by
    /// the error of the insert.
    months: Arc<Mutex<BTreeSet<NaiveDate>>>,
}

impl PartitionStore {
    pub(super) fn new(database: Database) -> Self {
        Self { database, months: Arc::default() }
    }

    /// Makes the partitions of the month of `now` and of the `ahead` months after it; answers how many were new.
    ///
    /// # Errors
    /// The server's; the months made before the failing one stay.
    pub async fn ensure(&self, now: DateTime<Utc>, ahead: u32) -> Result<usize, Error> {
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
            let mut connection = self.database.general.acquire().await?;
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
    pub async fn list(&self) -> Result<Vec<Partition>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query_as(ALL).fetch_all(&mut *connection);
                let rows: Vec<Row> = timed_rows(Statement::PartitionStatus, query).await?;
                let partition = |(name, bounds, rows, bytes, detaching, upper, held_until, held): Row| {
                    let month = name.strip_prefix("dgm_performance_metrics_").and_then(|month| {
                        let (year, month) = month.split_once('_')?;
                        NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)
                    });
                    let state = match detaching {
                        Some(false) => PartitionState::Attached,
                        Some(true) => PartitionState::Detaching,
                        None => PartitionState::Detached,
                    };
                    Partition { name, month, state, bounds, upper, rows, bytes, held_until, held }
                };
                Ok(rows.into_iter().map(partition).collect())
            })
            .await
    }
}
