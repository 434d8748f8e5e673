//! The clock of the database and how far this process's is from it.

use std::time::Duration;

use super::OperationsService;
use crate::domain::clock::{ClockError, Reading};

/// Between two readings.
const EVERY: Duration = Duration::from_secs(10);
/// Between two attempts until the first reading.
const AT_FIRST: Duration = Duration::from_secs(1);

impl OperationsService {
    /// The last reading of the database's clock, or the first one.
    ///
    /// # Errors
    /// When it was never read, and cannot be.
    pub async fn clock(&self) -> Result<Reading, ClockError> {
        match self.clock.ahead() {
            Some(ahead) => Ok(Reading { now: self.clock.now(), ahead }),
            None => self.clock.read().await,
        }
    }

    /// Reads the clock every ten seconds, and logs when the difference becomes too large and when it is small again.
    pub async fn watch_clock(&self) {
        let mut differed = false;
        loop {
            match self.clock.read().await.map(Reading::differs) {
                Ok(Some(error)) if !differed => {
                    tracing::error!(%error, "deletion by age is blocked: retention, artifacts, log files");
                    differed = true;
                }
                Ok(None) if differed => {
                    tracing::info!("the clocks of this process and the database agree again");
                    differed = false;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "no reading"),
            }
            tokio::time::sleep(if self.clock.ahead().is_some() { EVERY } else { AT_FIRST }).await;
        }
    }
}
