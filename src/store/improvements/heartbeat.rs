//! What holders say while they work; committed in groups.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::life::{Outcome, or_refusal};
use super::{by_id, improvement, improvement_columns, in_order, rounds};
use crate::domain::improvement::Improvement;
use crate::store::error::Error;
use crate::store::pool::{Store, timed_rows};
use crate::store::writer::Batch;
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Nobody but the holder may write, and only while the improvement runs. A lease never outlives `max_improvement_time`. `IS TRUE`
/// leaves only the index of ids to the planner: of a young queue it believes that hardly anything runs.
const HEARTBEAT: &str = sql!(
    ImprovementHeartbeat,
    "UPDATE dgm_improvements i SET heartbeat_at = now(),
        lease_expires_at = CASE WHEN h.lease IS NULL THEN i.lease_expires_at ELSE
            least(now() + make_interval(secs => h.lease), i.started_at + make_interval(secs => i.max_improvement_time)) END,
        progress = coalesce(h.progress, i.progress), progress_message = coalesce(h.message, i.progress_message)
     FROM unnest($1::text[], $2::uuid[], $3::float8[], $4::int[], $5::text[]) AS h (id, token, lease, progress, message)
     WHERE i.improvement_id = h.id AND (i.status = 'running') IS TRUE AND i.lease_token = h.token RETURNING ",
    improvement_columns!()
);

/// A holder that is still there.
#[derive(Debug)]
pub(in crate::store) struct Heartbeat {
    id: String,
    token: Uuid,
    says: Says,
}

#[derive(Debug)]
enum Says {
    /// The lease is to run this long from now.
    Lease {
        seconds: u32,
    },
    Progress {
        percent: i32,
        message: Option<String>,
    },
}

impl Store {
    /// Starts the lease anew.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn heartbeat(&self, id: &str, token: Uuid, lease_seconds: u32) -> Result<Outcome, Error> {
        let says = Says::Lease { seconds: lease_seconds };
        self.writers.heartbeats.write(self, Heartbeat { id: id.to_owned(), token, says }).await
    }

    /// Notes how far the work is.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn progress(
        &self,
        id: &str,
        token: Uuid,
        percent: i32,
        message: Option<String>,
    ) -> Result<Outcome, Error> {
        let says = Says::Progress { percent, message };
        self.writers.heartbeats.write(self, Heartbeat { id: id.to_owned(), token, says }).await
    }
}

impl Batch for Heartbeat {
    const LABEL: Writer = Writer::Heartbeats;
    const LARGE: usize = 32;
    type Reply = Outcome;

    fn rows(&self) -> usize {
        1
    }

    async fn write(store: &Store, batch: &[Self], _: bool) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let mut connection = store.acquire_writing().await?;
        let mut replies = Vec::with_capacity(batch.len());
        for round in rounds(batch, |heartbeat| &heartbeat.id) {
            let mut changed = write(&mut connection, &round).await?;
            for (place, Heartbeat { id, token, .. }) in round {
                let outcome = or_refusal(&mut connection, id, Some(*token), changed.remove(id.as_str())).await?;
                replies.push((place, Ok(outcome)));
            }
        }
        Ok(in_order(replies))
    }
}

async fn write(
    connection: &mut PgConnection,
    round: &[(usize, &Heartbeat)],
) -> Result<HashMap<String, Improvement>, Error> {
    fn column<'a, T>(round: &[(usize, &'a Heartbeat)], of: impl Fn(&'a Heartbeat) -> T) -> Vec<T> {
        round.iter().map(|(_, heartbeat)| of(heartbeat)).collect()
    }
    fn progress(heartbeat: &Heartbeat) -> Option<(i32, Option<&str>)> {
        match &heartbeat.says {
            Says::Progress { percent, message } => Some((*percent, message.as_deref())),
            Says::Lease { .. } => None,
        }
    }
    let lease = |heartbeat: &Heartbeat| match heartbeat.says {
        Says::Lease { seconds } => Some(f64::from(seconds)),
        Says::Progress { .. } => None,
    };
    let query = sqlx::query(HEARTBEAT)
        .bind(column(round, |heartbeat| heartbeat.id.as_str()))
        .bind(column(round, |heartbeat| heartbeat.token))
        .bind(column(round, lease))
        .bind(column(round, |heartbeat| progress(heartbeat).map(|(percent, _)| percent)))
        .bind(column(round, |heartbeat| progress(heartbeat).and_then(|(_, message)| message)))
        .try_map(|row| improvement(&row))
        .fetch_all(connection);
    Ok(by_id(timed_rows(Statement::ImprovementHeartbeat, query).await?))
}
