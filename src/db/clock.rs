//! The clock of the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use super::{Error, Pool, timed};
use crate::domain::clock::{Clock, ClockError, Reading, Reads, local};
use crate::telemetry::catalogue::process::CLOCK_DIFFERENCE;
use crate::telemetry::catalogue::statements::{Statement, sql};

const CLOCK: &str = sql!(Clock, "SELECT clock_timestamp()");
/// No reading yet.
const UNKNOWN: i64 = i64::MIN;

/// The database's clock, read on a connection of a pool and continued by the monotonic clock in between, so that a step of this
/// machine's wall clock changes nothing.
#[derive(Debug)]
pub struct DatabaseClock {
    pool: Pool,
    started: Instant,
    /// The database's time at `started`, in microseconds since 1970.
    origin: AtomicI64,
    /// See [`Clock::ahead`], in microseconds.
    ahead: AtomicI64,
}

impl DatabaseClock {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, started: Instant::now(), origin: AtomicI64::new(UNKNOWN), ahead: AtomicI64::new(UNKNOWN) }
    }

    async fn read_now(&self) -> Result<Reading, Error> {
        let read = |mut connection: PoolConnection<Postgres>| async move {
            let (sent, here) = (self.started.elapsed(), local());
            let query = sqlx::query_scalar::<_, DateTime<Utc>>(CLOCK).fetch_one(&mut *connection);
            Ok((sent, here, timed(Statement::Clock, query).await?))
        };
        let (sent, here, there) = self.pool.read(read).await?;
        // It was read at some moment of the round trip: the middle, give or take the other half.
        let half = delta((self.started.elapsed().saturating_sub(sent)) / 2);
        let difference = here + half - there;
        let certain = (difference.abs() - half).max(TimeDelta::zero());
        let ahead = if difference < TimeDelta::zero() { -certain } else { certain };
        self.origin.store((there - half - delta(sent)).timestamp_micros(), Ordering::Relaxed);
        self.ahead.store(micros(ahead), Ordering::Relaxed);
        CLOCK_DIFFERENCE.set((), seconds(ahead));
        Ok(Reading { now: self.now(), ahead })
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> DateTime<Utc> {
        let origin = self.origin.load(Ordering::Relaxed);
        let now = (origin != UNKNOWN).then(|| DateTime::from_timestamp_micros(origin)).flatten();
        now.map_or_else(local, |origin| origin + delta(self.started.elapsed()))
    }

    fn ahead(&self) -> Option<TimeDelta> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then(|| TimeDelta::microseconds(ahead))
    }

    fn read(&self) -> Reads<'_> {
        Box::pin(async { self.read_now().await.map_err(|error| ClockError::Unreadable(Arc::new(error))) })
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Saturates: clocks can be further apart than 64 bits of nanoseconds, not of microseconds.
fn micros(delta: TimeDelta) -> i64 {
    delta.num_microseconds().unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn seconds(delta: TimeDelta) -> f64 {
    micros(delta) as f64 / 1e6
}
