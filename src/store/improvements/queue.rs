//! Looking, listing, rescuing.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};

use super::{ImprovementStore, improvement, improvement_columns};
use crate::db::{Error, from_row, timed, timed_rows};
use crate::domain::improvement::{Filter, Improvement, Priority, Rescued, Status};
use crate::domain::page::{Position, Rows};
use crate::store::page::timed_page;
use crate::telemetry::catalogue::statements::{Statement, sql};

const GET: &str =
    sql!(ImprovementGet, "SELECT ", improvement_columns!(), " FROM dgm_improvements i WHERE i.improvement_id = $1");

/// Guarded on state and attempt, so that a rescue decided on an old snapshot never touches a finished improvement. Of
/// an improvement past its time the worker may still be alive; its lease token ends here.
const RESCUE: &str = sql!(
    ImprovementRescue,
    "
    UPDATE dgm_improvements i SET
        status = CASE WHEN i.attempts < i.max_attempts THEN 'queued' ELSE 'failed' END,
        completed_at = CASE WHEN i.attempts < i.max_attempts THEN NULL ELSE now() END,
        error_message = CASE WHEN e.overdue THEN 'ran longer than max_improvement_time'
                             ELSE 'the worker fell silent and its lease expired' END,
        lease_token = NULL, lease_expires_at = NULL
    FROM (
        SELECT id, attempts, now() > started_at + make_interval(secs => max_improvement_time) AS overdue
        FROM dgm_improvements
        WHERE status = 'running' AND (lease_expires_at < now()
            OR now() > started_at + make_interval(secs => max_improvement_time))
        FOR UPDATE SKIP LOCKED LIMIT $1
    ) e
    WHERE i.id = e.id AND i.status = 'running' AND i.attempts = e.attempts
    RETURNING i.status"
);

const DEPTHS: &str = sql!(
    ImprovementList,
    "
    SELECT status::text AS status, priority::text AS priority, count(*) AS count, min(available_at) AS oldest FROM dgm_improvements
    WHERE status IN ('queued', 'running') GROUP BY status, priority"
);

/// Improvements of one state and priority.
#[derive(Debug, Clone)]
pub struct Depth {
    /// Queued or running.
    pub status: Status,
    /// How urgent they are.
    pub priority: Priority,
    /// How many there are.
    pub count: i64,
    /// Since when the oldest may be claimed.
    pub oldest: Option<DateTime<Utc>>,
}

from_row!(Depth { status, priority, count, oldest });

impl ImprovementStore {
    /// One improvement.
    ///
    /// # Errors
    /// The server's.
    pub async fn find(&self, id: &str) -> Result<Option<Improvement>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(GET).bind(id).try_map(|row| improvement(&row)).fetch_optional(&mut *connection);
                timed(Statement::ImprovementGet, query).await
            })
            .await
    }

    /// One more than `limit` improvements after `after`, newest first, or as many as fit into a page.
    ///
    /// # Errors
    /// The server's.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&Position>,
        limit: u32,
    ) -> Result<Rows<Improvement>, Error> {
        self.database
            .read_behind(|connection| async move {
                let mut query = build(filter, after, limit);
                // Planned for these very values, as the archive's list.
                let query = query.build().persistent(false);
                timed_page(Statement::ImprovementList, connection, query, improvement).await
            })
            .await
    }

    /// Ends at most `limit` leases whose worker fell silent or whose improvement ran too long.
    ///
    /// # Errors
    /// The server's.
    pub async fn rescue(&self, limit: i64) -> Result<Rescued, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query_scalar::<_, Status>(RESCUE).bind(limit).fetch_all(&mut *connection);
        let mut rescued = Rescued::default();
        for status in timed_rows(Statement::ImprovementRescue, query).await? {
            if status == Status::Queued { rescued.requeued += 1 } else { rescued.failed += 1 }
        }
        Ok(rescued)
    }

    /// How many improvements are queued and running, with the oldest of each.
    ///
    /// # Errors
    /// The server's.
    pub async fn depths(&self) -> Result<Vec<Depth>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                timed_rows(Statement::ImprovementList, sqlx::query_as(DEPTHS).fetch_all(&mut *connection)).await
            })
            .await
    }
}

fn build<'a>(filter: &'a Filter, after: Option<&'a Position>, limit: u32) -> QueryBuilder<Postgres> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(sql!(
        ImprovementList,
        "SELECT ",
        improvement_columns!(listed),
        " FROM dgm_improvements i WHERE true"
    ));
    if let Some(service) = &filter.service {
        query.push(" AND i.service_name = ").push_bind(service);
    }
    if let Some(status) = filter.status {
        query.push(" AND i.status = '").push(status.as_str()).push("'");
    }
    if let Some(priority) = filter.priority {
        query.push(" AND i.priority = ").push_bind(priority);
    }
    if let Some(worker) = &filter.worker {
        query.push(" AND i.worker = ").push_bind(worker);
    }
    if let Some(stale) = filter.stale {
        let stale = if stale { " AND " } else { " AND NOT " };
        query.push(stale).push("(i.status = 'running' AND i.lease_expires_at < now())");
    }
    if let Some(from) = filter.created_after {
        query.push(" AND i.created_at >= ").push_bind(from);
    }
    if let Some(to) = filter.created_before {
        query.push(" AND i.created_at < ").push_bind(to);
    }
    if let Some(position) = after {
        query.push(" AND (i.created_at, i.improvement_id) < (").push_bind(position.time);
        query.push(", ").push_bind(&position.id).push(")");
    }
    query.push(" ORDER BY i.created_at DESC, i.improvement_id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    query
}
