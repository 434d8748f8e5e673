//! Monthly partitions of the samples.

use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
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
    /// The upper bound as a time; `None` when it is detached or has none.
    #[serde(skip)]
    pub upper: Option<DateTime<Utc>>,
    /// Rows, by the planner's estimate (-1: never analysed).
    pub rows: i64,
    /// Size with indexes and TOAST, in bytes.
    pub bytes: i64,
    /// When its hold ends or ended; `null` for a month that was never held.
    pub held_until: Option<DateTime<Utc>>,
    /// Whether the hold lasts, by the database's clock: retention leaves the month alone.
    pub held: bool,
}

impl Partition {
    /// The first moment that lies after it, by its name or by its bounds if they say later. `None`, it never ends: its month is not
    /// known, or it is attached without an upper bound.
    #[must_use]
    pub fn end(&self) -> Option<DateTime<Utc>> {
        let end = self.month?.checked_add_months(Months::new(1))?.and_time(NaiveTime::MIN).and_utc();
        match (self.state, self.upper) {
            (PartitionState::Detached, _) => Some(end),
            (PartitionState::Attached | PartitionState::Detaching, upper) => Some(end.max(upper?)),
        }
    }

    /// Whether it ends before what is kept.
    #[must_use]
    pub fn is_past(&self, kept: Kept) -> bool {
        self.end().is_some_and(|end| end <= kept.from)
    }

    /// Whether retention looks at it: it is past, and not held.
    #[must_use]
    pub fn is_expired(&self, kept: Kept) -> bool {
        !self.held && self.is_past(kept)
    }

    /// Whether retention may drop it.
    ///
    /// # Errors
    /// The reason to keep it.
    pub fn may_be_dropped(&self, rows: LastRows, kept: Kept) -> Result<(), Reason> {
        let end = self.end().ok_or(Reason::Unknown)?;
        let end = rows.measured.map_or(end, |measured| end.max(measured));
        if end > kept.now {
            return Err(Reason::Future(end));
        }
        if end > kept.from {
            return Err(Reason::Kept { end, from: kept.from });
        }
        match rows.written {
            Some(written) if written > kept.now - RECENT => Err(Reason::Written(written)),
            _ => Ok(()),
        }
    }
}

/// A partition that received rows within this time is kept, whatever its month.
pub const RECENT: TimeDelta = TimeDelta::hours(24);

/// The newest rows of a partition; `None` when it has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct LastRows {
    /// When a row was last written.
    pub written: Option<DateTime<Utc>>,
    /// The newest time of a sample.
    pub measured: Option<DateTime<Utc>>,
}

/// What retention keeps at a moment, by the clock of the database.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The moment.
    pub now: DateTime<Utc>,
    /// Samples from then on are kept.
    pub from: DateTime<Utc>,
}

/// Why a partition is not dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Neither its name nor its bounds say when it ends.
    #[error("its name and bounds do not say when it ends")]
    Unknown,
    /// It is not over.
    #[error("it ends at {0}, which is in the future")]
    Future(DateTime<Utc>),
    /// It holds samples that are kept.
    #[error("it ends at {end}, and samples from {from} on are kept")]
    Kept {
        /// Its end.
        end: DateTime<Utc>,
        /// Samples from then on are kept.
        from: DateTime<Utc>,
    },
    /// It is in use.
    #[error("rows were written to it at {0}, within the last 24 hours")]
    Written(DateTime<Utc>),
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
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::domain::clock::Reading;

    #[test]
    fn months_roll_over_the_year_from_a_long_month_s_last_day() {
        let now = "2027-12-31T23:59:59Z".parse().unwrap();
        let months: Vec<_> = (0..3).map(|offset| month_after(now, offset).unwrap().to_string()).collect();
        assert_eq!(months, ["2027-12-01", "2028-01-01", "2028-02-01"]);
    }

    /// Fewer than one in two cases may be dropped, and some are.
    #[test]
    fn of_a_thousand_random_cases_none_is_dropped_wrongly() {
        let mut rng = StdRng::seed_from_u64(20);
        let (mut dropped, mut wrong_clocks) = (0, 0);
        for case in 0..1_000 {
            let now: DateTime<Utc> = DateTime::from_timestamp(
                1_700_000_000 + rng.random_range(0..200_000_000),
                rng.random_range(0..1_000_000_000),
            )
            .unwrap();
            // What decides is the database's clock; a process that is too far from it does not decide.
            let ahead = TimeDelta::milliseconds(match rng.random_range(0..4) {
                0 => 0,
                1 => rng.random_range(-5_000..=5_000),
                2 => rng.random_range(-60_000..60_000),
                _ => rng.random_range(-40_000_000_000..40_000_000_000),
            });
            let months = rng.random_range(0..24);
            let from = now.checked_sub_months(Months::new(months)).unwrap();
            let back = rng.random_range(0..30);
            let month = month_of(now).unwrap().checked_sub_months(Months::new(back)).unwrap();
            let state = *[PartitionState::Attached, PartitionState::Detaching, PartitionState::Detached]
                .choose(&mut rng)
                .unwrap();
            let by_name = month.checked_add_months(Months::new(1)).unwrap().and_time(NaiveTime::MIN).and_utc();
            let upper = match rng.random_range(0..8) {
                0 => None,
                1 => Some(now + TimeDelta::seconds(rng.random_range(-100_000_000..100_000_000))),
                _ => Some(by_name),
            };
            let written = rng.random_bool(0.8).then(|| now - TimeDelta::minutes(rng.random_range(-10..6_000)));
            let measured = rng.random_bool(0.8).then(|| by_name - TimeDelta::minutes(rng.random_range(-5..40_000)));
            let held = rng.random_bool(0.2);
            let partition = Partition {
                name: "p".into(),
                month: Some(month),
                state,
                bounds: String::new(),
                upper,
                rows: 0,
                bytes: 0,
                held_until: held.then(|| now + TimeDelta::days(1)),
                held,
            };
            let verified = Reading { now, ahead }.verified();
            let drops = verified.as_ref().is_ok_and(|now| {
                let kept = Kept { now: *now, from };
                partition.is_expired(kept) && partition.may_be_dropped(LastRows { written, measured }, kept).is_ok()
            });
            wrong_clocks += usize::from(verified.is_err());
            if drops {
                dropped += 1;
                let what = format!(
                    "case {case}: {partition:?} at {now}, ahead {ahead}, written {written:?}, measured {measured:?}"
                );
                assert!(ahead.num_milliseconds().abs() <= 5_000, "{what}");
                assert!(!held, "{what}");
                assert!(by_name <= from, "{what}");
                assert!(state == PartitionState::Detached || upper.unwrap() <= from, "{what}");
                assert!(measured.is_none_or(|at| at <= from), "{what}");
                assert!(written.is_none_or(|at| now - at >= TimeDelta::hours(24)), "{what}");
            }
        }
        assert!((50..500).contains(&dropped) && wrong_clocks > 100, "{dropped} dropped, {wrong_clocks} wrong clocks");
    }
}
