//! Queueing, claiming, listing, rescuing.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::{improvement, improvement_columns};
use crate::domain::improvement::{Claimed, Improvement, NewImprovement, Priority, Status};
use crate::domain::page::Position;
use crate::store::archive::Created;
use crate::store::error::Error;
use crate::store::pool::{Store, timed};
use crate::telemetry::catalogue::statements::Statement;

const INSERT: &str = concat!(
    "INSERT INTO dgm_improvements AS i (improvement_id, service_name, parent_entry_id, problem_statement, priority,
        max_improvement_time, max_attempts, constitutional_constraints, performance_metrics, create_digest, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     ON CONFLICT (improvement_id) DO NOTHING RETURNING ",
    improvement_columns!()
);

const GET: &str = concat!("SELECT ", improvement_columns!(), " FROM dgm_improvements i WHERE i.improvement_id = $1");

/// The array keeps the planner from running the locking subquery more than once.
const CLAIM: &str = concat!(
    "UPDATE dgm_improvements i SET status = 'running', worker = $1, lease_token = gen_random_uuid(),
        lease_expires_at = now() + make_interval(secs => least($4::float8, i.max_improvement_time)), heartbeat_at = now(),
        attempts = i.attempts + 1, started_at = now(), completed_at = NULL, progress = 0, progress_message = NULL
     WHERE i.id = ANY(ARRAY(
        SELECT q.id FROM dgm_improvements q
        WHERE q.status = 'queued' AND q.available_at <= now() AND ($2::text[] IS NULL OR q.service_name = ANY($2))
        ORDER BY q.priority_rank, q.created_at, q.id FOR UPDATE SKIP LOCKED LIMIT $3))
     RETURNING i.priority_rank, i.id, ",
    improvement_columns!()
);

/// Guarded on state and attempt, so that a rescue decided on an old snapshot never touches a finished improvement. Of
/// an improvement past its time the worker may still be alive; its lease token ends here.
const RESCUE: &str = "
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
    RETURNING i.status";

const DEPTHS: &str = "
    SELECT status::text, count(*), min(created_at) FROM dgm_improvements
    WHERE status IN ('queued', 'running') GROUP BY status";

/// Which improvements; an absent field admits all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this service.
    pub service: Option<String>,
    /// With this status.
    pub status: Option<Status>,
    /// With this priority.
    pub priority: Option<Priority>,
    /// Held (last) by this worker.
    pub worker: Option<String>,
    /// Only those that are stale, or only those that are not.
    pub stale: Option<bool>,
    /// Queued at this time or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Queued before this time.
    pub created_before: Option<DateTime<Utc>>,
}

/// How many leases were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Back in the queue.
    pub requeued: u64,
    /// Out of attempts.
    pub failed: u64,
}

impl Store {
    /// Queues an improvement.
    ///
    /// # Errors
    /// [`Error::MissingReference`] for an unknown parent.
    pub async fn create_improvement(
        &self,
        id: &str,
        new: &NewImprovement,
        by: Option<Uuid>,
    ) -> Result<(Created, Improvement), Error> {
        let mut connection = self.acquire().await?;
        let digest = new.digest();
        let query = sqlx::query(INSERT)
            .bind(id)
            .bind(&new.service_name)
            .bind(&new.parent_entry_id)
            .bind(&new.problem_statement)
            .bind(new.priority.as_str())
            .bind(new.max_improvement_time)
            .bind(new.max_attempts)
            .bind(new.constitutional_constraints.clone().map(Value::Object))
            .bind(Value::Object(new.performance_metrics.clone()))
            .bind(&digest)
            .bind(by)
            .try_map(|row| improvement(&row))
            .fetch_optional(&mut *connection);
        if let Some(inserted) = timed(Statement::ImprovementInsert, query).await? {
            return Ok((Created::New, inserted));
        }
        let query = sqlx::query("SELECT create_digest FROM dgm_improvements WHERE improvement_id = $1")
            .bind(id)
            .try_map(|row: PgRow| row.try_get::<Option<Vec<u8>>, _>(0))
            .fetch_one(&mut *connection);
        let known = timed(Statement::ImprovementGet, query).await?;
        let created = if known.as_ref() == Some(&digest) { Created::Same } else { Created::Conflict };
        let query = sqlx::query(GET).bind(id).try_map(|row| improvement(&row)).fetch_one(&mut *connection);
        Ok((created, timed(Statement::ImprovementGet, query).await?))
    }

    /// One improvement.
    ///
    /// # Errors
    /// The server's.
    pub async fn improvement(&self, id: &str) -> Result<Option<Improvement>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query(GET).bind(id).try_map(|row| improvement(&row)).fetch_optional(&mut *connection);
        timed(Statement::ImprovementGet, query).await
    }

    /// Hands out at most `max` queued improvements under a lease, the most urgent and oldest first. No two callers get
    /// the same one.
    ///
    /// # Errors
    /// The server's.
    pub async fn claim(
        &self,
        worker: &str,
        services: Option<&[String]>,
        max: u32,
        lease_seconds: u32,
    ) -> Result<Vec<Claimed>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query(CLAIM)
            .bind(worker)
            .bind(services)
            .bind(i64::from(max))
            .bind(f64::from(lease_seconds))
            .try_map(|row: PgRow| {
                let order: (i16, Uuid) = (row.try_get("priority_rank")?, row.try_get("id")?);
                Ok((order, Claimed { lease_token: row.try_get("lease_token")?, improvement: improvement(&row)? }))
            })
            .fetch_all(&mut *connection);
        let mut claimed = timed(Statement::ImprovementClaim, query).await?;
        // UPDATE .. RETURNING answers in no order.
        claimed.sort_by_key(|((rank, id), c)| (*rank, c.improvement.created_at, *id));
        Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
    }

    /// One more than `limit` improvements after `after`, newest first.
    ///
    /// # Errors
    /// The server's.
    pub async fn list_improvements(
        &self,
        filter: &Filter,
        after: Option<&Position>,
        limit: u32,
    ) -> Result<Vec<Improvement>, Error> {
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new(concat!("SELECT ", improvement_columns!(), " FROM dgm_improvements i WHERE true"));
        if let Some(service) = &filter.service {
            query.push(" AND i.service_name = ").push_bind(service);
        }
        if let Some(status) = filter.status {
            query.push(" AND i.status = '").push(status.as_str()).push("'");
        }
        if let Some(priority) = filter.priority {
            query.push(" AND i.priority = ").push_bind(priority.as_str());
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
        let mut connection = self.acquire_reading().await?;
        // Planned for these very values, as the archive's list.
        let fetch = query.build().persistent(false).try_map(|row| improvement(&row)).fetch_all(&mut *connection);
        timed(Statement::ImprovementList, fetch).await
    }

    /// Ends at most `limit` leases whose worker fell silent or whose improvement ran too long.
    ///
    /// # Errors
    /// The server's.
    pub async fn rescue(&self, limit: i64) -> Result<Rescued, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query_scalar::<_, String>(RESCUE).bind(limit).fetch_all(&mut *connection);
        let mut rescued = Rescued::default();
        for status in timed(Statement::ImprovementRescue, query).await? {
            if status == "queued" { rescued.requeued += 1 } else { rescued.failed += 1 }
        }
        Ok(rescued)
    }

    /// How many improvements are queued and running, with the oldest of each.
    ///
    /// # Errors
    /// The server's.
    pub async fn queue_depths(&self) -> Result<Vec<(String, i64, Option<DateTime<Utc>>)>, Error> {
        let mut connection = self.acquire().await?;
        timed(Statement::ImprovementList, sqlx::query_as(DEPTHS).fetch_all(&mut *connection)).await
    }
}
