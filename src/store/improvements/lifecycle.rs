//! What a holder does with its improvement, and what operators do to it.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{ImprovementStore, improvement, improvement_columns};
use crate::db::{Error, retrying, timed};
use crate::domain::improvement::{Improvement, Status};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// `$2` is the lease token; nobody but the holder may write, and only while the improvement runs. Backoff: 10 s, doubled at each
/// attempt, at most an hour.
const FAIL: &str = sql!(
    ImprovementFail,
    "UPDATE dgm_improvements i SET error_message = $3,
     status = CASE WHEN $4 AND i.attempts < i.max_attempts THEN 'queued' ELSE 'failed' END,
     available_at = now() + make_interval(secs => least(10 * 2 ^ (i.attempts - 1), 3600)),
     completed_at = CASE WHEN $4 AND i.attempts < i.max_attempts THEN NULL ELSE now() END,
     lease_expires_at = NULL
     WHERE i.improvement_id = $1 AND i.status = 'running' AND i.lease_token = $2 RETURNING ",
    improvement_columns!()
);
const CANCEL: &str = sql!(ImprovementCancel, "UPDATE dgm_improvements i SET status = 'cancelled', completed_at = now(), lease_token = NULL, lease_expires_at = NULL
     WHERE i.improvement_id = $1 AND i.status IN ('queued', 'running') RETURNING ",
    improvement_columns!());
const RETRY: &str = sql!(
    ImprovementRetry,
    "UPDATE dgm_improvements i SET status = 'queued', attempts = 0, available_at = now(), completed_at = NULL,
        progress = 0, progress_message = NULL, lease_token = NULL, lease_expires_at = NULL
     WHERE i.improvement_id = $1 AND i.status IN ('failed', 'cancelled') RETURNING ",
    improvement_columns!()
);
const STATE: &str =
    sql!(ImprovementGet, "SELECT ", improvement_columns!(), " FROM dgm_improvements i WHERE i.improvement_id = $1");
const HOLDER: &str = sql!(ImprovementFail, "SELECT lease_token FROM dgm_improvements WHERE improvement_id = $1");

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// There is no such improvement.
    Missing,
    /// It runs, but under another lease.
    LeaseLost,
    /// Its state does not admit the change.
    State(Box<Improvement>),
    /// Another entry has the id of the result's.
    EntryConflict(String),
}

/// A change, or why there was none.
pub type Outcome = Result<Improvement, Refusal>;

impl ImprovementStore {
    /// Notes that the attempt failed: back to the queue after a pause while attempts are left and `retryable`.
    ///
    /// # Errors
    /// The server's.
    pub async fn fail(&self, id: &str, token: Uuid, message: &str, retryable: bool) -> Result<Outcome, Error> {
        retrying(|| async {
            let mut connection = self.database.general.acquire().await?;
            let query = sqlx::query(FAIL)
                .bind(id)
                .bind(token)
                .bind(message)
                .bind(retryable)
                .try_map(|row| improvement(&row))
                .fetch_optional(&mut *connection);
            let changed = timed(Statement::ImprovementFail, query).await?;
            match or_refusal(&mut connection, id, Some(token), changed).await? {
                // A repeated call whose first answer was lost; the token stays with the row until the next claim.
                Err(Refusal::State(state)) if matches!(state.status, Status::Failed | Status::Queued) => {
                    let query = sqlx::query_scalar(HOLDER).bind(id).fetch_one(&mut *connection);
                    let last: Option<Uuid> = timed(Statement::ImprovementFail, query).await?;
                    Ok(if last == Some(token) { Ok(*state) } else { Err(Refusal::State(state)) })
                }
                outcome => Ok(outcome),
            }
        })
        .await
    }

    /// Calls an improvement off; one that was called off already stays so.
    ///
    /// # Errors
    /// The server's.
    pub async fn cancel(&self, id: &str) -> Result<Outcome, Error> {
        retrying(|| async {
            let mut connection = self.database.general.acquire().await?;
            let query = sqlx::query(CANCEL).bind(id).try_map(|row| improvement(&row)).fetch_optional(&mut *connection);
            let changed = timed(Statement::ImprovementCancel, query).await?;
            match or_refusal(&mut connection, id, None, changed).await? {
                Err(Refusal::State(state)) if state.status == Status::Cancelled => Ok(Ok(*state)),
                outcome => Ok(outcome),
            }
        })
        .await
    }

    /// Queues a failed or cancelled improvement again, with all its attempts.
    ///
    /// # Errors
    /// The server's.
    pub async fn retry(&self, id: &str) -> Result<Outcome, Error> {
        retrying(|| async {
            let mut connection = self.database.general.acquire().await?;
            let query = sqlx::query(RETRY).bind(id).try_map(|row| improvement(&row)).fetch_optional(&mut *connection);
            let changed = timed(Statement::ImprovementRetry, query).await?;
            or_refusal(&mut connection, id, None, changed).await
        })
        .await
    }
}

/// Finds out why an update met no row.
pub(super) async fn or_refusal(
    connection: &mut PgConnection,
    id: &str,
    token: Option<Uuid>,
    changed: Option<Improvement>,
) -> Result<Outcome, Error> {
    if let Some(changed) = changed {
        return Ok(Ok(changed));
    }
    let query = sqlx::query(STATE).bind(id).try_map(|row| improvement(&row)).fetch_optional(connection);
    Ok(Err(match timed(Statement::ImprovementGet, query).await? {
        None => Refusal::Missing,
        Some(state) if state.status == Status::Running && token.is_some() => Refusal::LeaseLost,
        Some(state) => Refusal::State(Box::new(state)),
    }))
}
