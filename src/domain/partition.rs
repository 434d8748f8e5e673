//! Monthly partitions of the samples.

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::closed::wire;

wire! {
    /// What a partition is to its parent.
    pub PartitionState "state of a partition" {
        /// A part of it.
        Attached "attached",
        /// Its detachment was interrupted: readers skip it, and the detachment can be finished.
        Detaching "detaching",
        /// A table of its own, between detaching and dropping.
        Detached "detached",
    }
}

/// A partition as the system catalogue describes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Partition {
    /// The table's name.
    pub name: String,
    /// The month that it holds, by its name; `None` for one that was made by hand under another.
    pub month: Option<NaiveDate>,
    /// What it is to its parent.
    pub state: PartitionState,
    /// Its bounds, in PostgreSQL's words; empty when it is detached.
    pub bounds: String,
    /// Rows, by the planner's estimate (-1: never analysed).
    pub rows: i64,
    /// Size with indexes and TOAST, in bytes.
    pub bytes: i64,
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
    partitions
        .iter()
        .filter(|partition| partition.state == PartitionState::Attached)
        .filter_map(|partition| partition.month)
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

/// The first day of the month `offset` months after the month of `now`.
#[must_use]
pub fn month_after(now: DateTime<Utc>, offset: u32) -> Option<NaiveDate> {
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
