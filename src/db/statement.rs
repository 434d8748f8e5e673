//! Statements run under their names, which label latency, errors, spans and slow-statement logs.

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::TryFutureExt as _;
use tracing::Instrument as _;

use super::error::Error;
use super::spans;
use crate::telemetry::catalogue::database::{DB_STATEMENT_DURATION, DB_STATEMENT_ERRORS};
use crate::telemetry::catalogue::statements::Statement;

/// A statement that takes longer is logged.
const SLOW: Duration = Duration::from_secs(1);

/// Runs a statement under its name.
///
/// # Errors
/// The server's.
pub async fn timed<T>(statement: Statement, run: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    let span = spans::statement(statement);
    let started = Instant::now();
    let outcome = run.instrument(span.clone()).await;
    spans::failed(&span, &outcome);
    let took = started.elapsed();
    DB_STATEMENT_DURATION.observe((statement,), took);
    if took >= SLOW {
        tracing::warn!(statement = statement.as_str(), took_seconds = took.as_secs_f64(), "slow statement");
    }
    outcome.map_err(|error| {
        DB_STATEMENT_ERRORS.increment((statement,));
        let error = Error::from(error);
        tracing::debug!(?statement, %error, "statement failed");
        error
    })
}

/// Runs a statement that returns rows; its span records their number.
pub fn timed_rows<T>(
    statement: Statement,
    run: impl Future<Output = Result<Vec<T>, sqlx::Error>>,
) -> impl Future<Output = Result<Vec<T>, Error>> {
    timed(statement, run.inspect_ok(|rows| spans::returned(rows)))
}
