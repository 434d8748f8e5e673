//! Work that is done again: transactions that the server rolled back in favour of others, and work whose connection broke.

use std::future::Future;
use std::time::Duration;

use super::error::Error;
use crate::telemetry::catalogue::database::DB_TRANSACTION_RETRIES;

/// Retries of a transaction.
const RETRIES: u32 = 3;
/// Upper bound of the first pause, doubled with each further one. The pauses are random, so that those that met do not meet again.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs a transaction, and again when the server rolled it back because of a serialization failure or a deadlock. Nothing of it
/// was committed then, and the same transaction may succeed. Not for transactions that run at most once.
///
/// # Errors
/// The last attempt's.
pub async fn retrying<T, F: Future<Output = Result<T, Error>>>(transaction: impl Fn() -> F) -> Result<T, Error> {
    let mut retries = 0;
    loop {
        let outcome = transaction().await;
        let Some(conflict) = outcome.as_ref().err().and_then(Error::conflict).filter(|_| retries < RETRIES) else {
            return outcome;
        };
        DB_TRANSACTION_RETRIES.increment((conflict,));
        tokio::time::sleep((PAUSE * 2_u32.pow(retries)).mul_f64(rand::random())).await;
        retries += 1;
    }
}

/// Attempts of work whose connection breaks. A second one may meet a session that is being ended, too: a restart and an
/// administrator end them one after the other.
const ATTEMPTS: u32 = 3;
/// Pause before the last of them.
const ENDING: Duration = Duration::from_millis(25);

/// Does idempotent work, and again on another connection when its own broke. The argument is whether the outcome of an earlier attempt
/// is unknown.
///
/// # Errors
/// The last attempt's.
pub async fn reconnecting<T, F: Future<Output = Result<T, Error>>>(work: impl Fn(bool) -> F) -> Result<T, Error> {
    let mut attempts = 1;
    loop {
        let outcome = work(attempts > 1).await;
        if attempts == ATTEMPTS || !outcome.as_ref().is_err_and(Error::is_broken_connection) {
            return outcome;
        }
        attempts += 1;
        if attempts == ATTEMPTS {
            tokio::time::sleep(ENDING).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_whose_connection_breaks_is_done_three_times_at_most() {
        for (broken, expected) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
            let attempts = AtomicU32::new(0);
            let outcome = reconnecting(|unknown| {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                assert_eq!(unknown, attempt > 0);
                async move {
                    let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    if attempt < broken { Err(reset().into()) } else { Ok(()) }
                }
            })
            .await;
            assert_eq!((outcome.is_ok(), attempts.into_inner()), (broken < 3, expected));
        }
    }

    #[tokio::test]
    async fn other_errors_are_not_retried() {
        let attempts = AtomicU32::new(0);
        let outcome: Result<(), Error> = retrying(|| async {
            attempts.fetch_add(1, Ordering::Relaxed);
            Err(Error::Busy)
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
    }
}
