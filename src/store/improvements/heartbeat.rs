//! Heartbeats and progress of lease holders, by group commit.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::lifecycle::{Outcome, or_refusal};
use super::{by_id, improvement, improvement_columns, in_order, rounds};
use crate::batch::Batch;
use crate::db::{Database, Error, timed_rows};
use crate::domain::improvement::Improvement;
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

/// A heartbeat of a lease holder.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) id: String,
    pub(super) token: Uuid,
    pub(super) says: Says,
}

#[derive(Debug)]
pub(super) enum Says {
    /// Renews the lease for this long from now.
    Lease {
        seconds: u32,
    },
    Progress {
        percent: i32,
        message: Option<String>,
    },
}

impl Batch for Heartbeat {
    const LABEL: Writer = Writer::Heartbeats;
    const FULL: usize = 32;
    type Context = Database;
    type Reply = Outcome;

    async fn write(database: &Database, batch: &[Self], _: bool) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let mut connection = database.writing.acquire().await?;
        let mut replies = Vec::with_capacity(batch.len());
        for round in rounds(batch, |heartbeat| &heartbeat.id) {
            let mut changed = update(&mut connection, &round).await?;
            for (place, Heartbeat { id, token, .. }) in round {
                let outcome = or_refusal(&mut connection, id, Some(*token), changed.remove(id.as_str())).await?;
                replies.push((place, Ok(outcome)));
            }
        }
        Ok(in_order(replies))
    }
}

async fn update(
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
