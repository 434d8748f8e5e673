//! The time of day, injected so that tests can choose it. Leases do not use it: they live by the database's clock, which
//! is the one that all replicas share.

use chrono::{DateTime, SubsecRound as _, Utc};

/// Tells the time.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// Now, with the precision of the database: microseconds.
    fn timestamp(&self) -> DateTime<Utc> {
        self.now().trunc_subsecs(6)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
