//! The time. Replicas, callers and jobs share the clock of the database, which each process reads every few seconds; the clock of a
//! machine may be wrong by years without anybody noticing. Leases are decided in SQL and do not use this.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// Beyond this difference between the clocks of the process and the database, nothing is deleted on account of its age.
pub const MAX_DIFFERENCE: TimeDelta = TimeDelta::seconds(5);

/// The reading to come.
pub type Reads<'a> = Pin<Box<dyn Future<Output = Result<Reading, ClockError>> + Send + 'a>>;

/// The database's clock, as one process knows it.
pub trait Clock: Debug + Send + Sync {
    /// Now, continued from the last reading by this machine's monotonic clock. Before the first reading it is this machine's time.
    fn now(&self) -> DateTime<Utc>;

    /// How far this process's clock was ahead of the database's at the last reading, less the uncertainty of the reading; negative:
    /// behind. `None` before the first reading.
    fn ahead(&self) -> Option<TimeDelta>;

    /// Asks the database.
    fn read(&self) -> Reads<'_>;

    /// Now, with the precision of the database: microseconds.
    fn timestamp(&self) -> DateTime<Utc> {
        self.now().trunc_subsecs(6)
    }
}

/// One comparison of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The database's time.
    pub now: DateTime<Utc>,
    /// See [`Clock::ahead`].
    pub ahead: TimeDelta,
}

impl Reading {
    /// The database's time, if data may be deleted on account of its age.
    ///
    /// # Errors
    /// [`ClockError::Differs`].
    pub fn verified(self) -> Result<DateTime<Utc>, ClockError> {
        self.differs().map_or(Ok(self.now), Err)
    }

    /// The difference as an error, when it is above [`MAX_DIFFERENCE`].
    #[must_use]
    pub fn differs(self) -> Option<ClockError> {
        (self.ahead.abs() > MAX_DIFFERENCE).then_some(ClockError::Differs(self.ahead))
    }
}

/// Why the time is not certain enough to delete data by it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClockError {
    /// The database does not answer.
    #[error("the clock of the database cannot be read: {0}")]
    Unreadable(Arc<dyn std::error::Error + Send + Sync>),
    /// The clocks differ by more than [`MAX_DIFFERENCE`]; the value is [`Clock::ahead`].
    #[error(
        "the clock of this process is {} s {} that of the database; nothing is deleted on account of its age while they differ by more than \
         {} s: synchronize both machines (NTP)",
        .0.abs().num_seconds(), if .0.num_milliseconds() < 0 { "behind" } else { "ahead of" }, MAX_DIFFERENCE.num_seconds()
    )]
    Differs(TimeDelta),
}

/// This machine's clock. The architecture test lists who may ask it, and why.
#[must_use]
pub fn local() -> DateTime<Utc> {
    Utc::now()
}
