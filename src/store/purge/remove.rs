//! Removing what there is of a service, a batch at a time, each in a short transaction of its own: whatever is interrupted
//! goes on where it was.
//!
//! Each batch says where the next one begins, so that it need not pass by the rows that were removed before it: until they
//! are vacuumed they lie in the index.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{PurgeStore, bounds};
use crate::db::{Error, timed, timed_rows};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Rows of a batch.
const BATCH: i64 = 1000;
/// Improvements of a batch, most of which have a few events; one with very many is emptied by several batches.
const IMPROVEMENTS: i64 = 250;

/// In the order of the primary key, within one partition.
const SAMPLES: &str = sql!(
    ForgetSamples,
    "
    DELETE FROM dgm_performance_metrics
    WHERE service_name = $1 AND measurement_timestamp >= $2 AND measurement_timestamp < $3 AND id = ANY(ARRAY(
        SELECT id FROM dgm_performance_metrics
        WHERE service_name = $1 AND measurement_timestamp >= $2 AND measurement_timestamp < $3 AND id >= $4
        ORDER BY id LIMIT $5))
    RETURNING id"
);

/// Nobody can claim them from here on. Those that a worker holds are left, and those that somebody works on just now: whoever
/// waits while he holds others may be waited for.
const LOCK: &str = sql!(
    ForgetImprovements,
    "
    SELECT improvement_id::text, created_at FROM dgm_improvements
    WHERE service_name = $1 AND created_at <= coalesce($2, 'infinity'::timestamptz)
      AND NOT (status = 'running' AND lease_expires_at > now())
    ORDER BY created_at DESC LIMIT $3 FOR UPDATE SKIP LOCKED"
);
const EVENTS: &str = sql!(
    ForgetImprovements,
    "
    DELETE FROM dgm_improvement_events WHERE event_id = ANY(ARRAY(
        SELECT e.event_id FROM unnest($1::text[]) AS i (id) CROSS JOIN LATERAL (
            SELECT event_id FROM dgm_improvement_events WHERE improvement_id = i.id OFFSET 0) e
        LIMIT $2))"
);
/// Those whose events are all gone.
const IMPROVEMENTS_OF: &str = sql!(
    ForgetImprovements,
    "
    DELETE FROM dgm_improvements i WHERE i.improvement_id = ANY($1)
      AND NOT EXISTS (SELECT FROM dgm_improvement_events e WHERE e.improvement_id = i.improvement_id OFFSET 0)"
);

/// The newest: entries are younger than what they refer to, but for imports.
const NEWEST: &str = sql!(
    ForgetEntries,
    "
    SELECT archive_entry_id::text, created_at FROM dgm_archive
    WHERE service_name = $1 AND created_at <= coalesce($2, 'infinity'::timestamptz)
    ORDER BY created_at DESC, generation_number DESC LIMIT $3"
);
/// Those that nothing refers to, and what is above them.
const LEAVES: &str = sql!(
    ForgetEntries,
    "
    WITH RECURSIVE up (id, parent, created_at) AS (
        (SELECT a.* FROM (
            SELECT archive_entry_id::text, parent_entry_id::text, created_at FROM dgm_archive
            WHERE service_name = $1 AND created_at <= coalesce($2, 'infinity'::timestamptz)
            ORDER BY created_at DESC OFFSET 0) AS a (id, parent, created_at)
         WHERE NOT EXISTS (SELECT FROM dgm_archive c WHERE c.parent_entry_id = a.id OFFSET 0)
           AND NOT EXISTS (SELECT FROM dgm_archive_inspirations i WHERE i.inspiration_entry_id = a.id OFFSET 0)
         LIMIT $3)
        UNION
        SELECT p.* FROM up CROSS JOIN LATERAL (
            SELECT archive_entry_id::text, parent_entry_id::text, created_at FROM dgm_archive
            WHERE archive_entry_id = up.parent AND service_name = $1 OFFSET 0) p
    ) SELECT id, created_at FROM up LIMIT $3"
);
/// An entry whose child, or whatever refers to it, is being made is locked by that, and left. From here on none can be made:
/// so the next statement sees all there are, and no foreign key is ever broken, here or for the writer.
const TAKE: &str = sql!(
    ForgetEntries,
    "
    SELECT archive_entry_id::text, created_at FROM dgm_archive WHERE archive_entry_id = ANY($1) FOR UPDATE SKIP LOCKED"
);
/// Of a batch, those that must stay for now: what is not in it refers to them, or one of these does. An improvement that does
/// was claimed meanwhile.
const HELD: &str = sql!(
    ForgetEntries,
    "
    WITH RECURSIVE held (id) AS (
        (SELECT b.id FROM unnest($1::text[]) AS b (id) CROSS JOIN LATERAL (
            SELECT FROM dgm_archive WHERE parent_entry_id = b.id AND archive_entry_id <> ALL($1) LIMIT 1) c
         UNION ALL
         SELECT b.id FROM unnest($1::text[]) AS b (id) CROSS JOIN LATERAL (
            SELECT FROM dgm_archive_inspirations WHERE inspiration_entry_id = b.id AND archive_entry_id <> ALL($1) LIMIT 1) c
         UNION ALL
         SELECT b.id FROM unnest($1::text[]) AS b (id) CROSS JOIN LATERAL (
            SELECT FROM dgm_improvements WHERE parent_entry_id = b.id LIMIT 1) c
         UNION ALL
         SELECT b.id FROM unnest($1::text[]) AS b (id) CROSS JOIN LATERAL (
            SELECT FROM dgm_improvements WHERE archive_entry_id = b.id LIMIT 1) c)
        UNION
        SELECT r.id FROM held CROSS JOIN LATERAL (
            SELECT parent_entry_id::text AS id FROM dgm_archive WHERE archive_entry_id = held.id
            UNION ALL
            SELECT inspiration_entry_id::text FROM dgm_archive_inspirations WHERE archive_entry_id = held.id) r
        WHERE r.id = ANY($1)
    ) SELECT id FROM held"
);
/// The trigger on references locks contents in the order in which entries are removed. Locked by digest first, as uploads do,
/// they cannot deadlock with an upload, or with the removal of another service.
const CONTENTS: &str = sql!(
    ForgetEntries,
    "
    SELECT FROM dgm_artifacts WHERE digest = ANY(ARRAY(
        SELECT r.digest FROM unnest($1::text[]) AS e (id) CROSS JOIN LATERAL (
            SELECT digest FROM dgm_archive_artifacts WHERE archive_entry_id = e.id OFFSET 0) r))
    ORDER BY digest FOR UPDATE"
);
/// One statement, at the end of which the foreign keys are looked at and the entries that the inspirations' trigger would
/// touch are gone. Counts of reads go by cascade. The feed tells caches by the archive's trigger.
const ENTRIES: &str = sql!(
    ForgetEntries,
    "
    WITH history AS (DELETE FROM dgm_archive_score_history WHERE archive_entry_id = ANY($1)),
        inspirations AS (DELETE FROM dgm_archive_inspirations WHERE archive_entry_id = ANY($1))
    DELETE FROM dgm_archive WHERE archive_entry_id = ANY($1)"
);

/// A batch is looked up row by row, and so are the rows that refer to it by the foreign keys, whose plans are kept for as long
/// as the connection: none of them should be to read a table whole because it was small at that moment.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off";

/// Which entries are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The newest. Quick, and may find none that can go.
    Newest,
    /// Those that nothing refers to, and what is above them. Finds some while there are any, and may have to look at all.
    Leaves,
}

/// What a batch did.
#[derive(Debug)]
pub struct Step<Place> {
    /// Rows that were removed, of the kind that was asked for.
    pub removed: u64,
    /// Rows that hung on them and were removed: the events of improvements.
    pub with_them: u64,
    /// Where the next one begins; `None` at the end.
    pub next: Option<Place>,
}

impl PurgeStore {
    /// Removes samples of a service in a month, those with the lowest ids from `from` on.
    ///
    /// # Errors
    /// The server's.
    pub async fn remove_samples(&self, service: &str, month: NaiveDate, from: Uuid) -> Result<Step<Uuid>, Error> {
        let (start, end) = bounds(month);
        let mut connection = self.database.general.acquire().await?;
        // Planned for its month, so that it reads one partition.
        let query = sqlx::query_scalar(SAMPLES).bind(service).bind(start).bind(end).bind(from).bind(BATCH);
        let query = query.persistent(false).fetch_all(&mut *connection);
        let gone: Vec<Uuid> = timed_rows(Statement::ForgetSamples, query).await?;
        Ok(Step { removed: gone.len() as u64, with_them: 0, next: gone.into_iter().max() })
    }

    /// Removes improvements of a service and their events, the newest that are not newer than `upto`; those that a worker
    /// holds are left.
    ///
    /// # Errors
    /// The server's.
    pub async fn remove_improvements(
        &self,
        service: &str,
        upto: Option<DateTime<Utc>>,
    ) -> Result<Step<DateTime<Utc>>, Error> {
        let mut transaction = self.begin_removing().await?;
        let query = sqlx::query_as(LOCK).bind(service).bind(upto).bind(IMPROVEMENTS).fetch_all(&mut *transaction);
        let locked: Vec<(String, DateTime<Utc>)> = timed_rows(Statement::ForgetImprovements, query).await?;
        let (ids, times): (Vec<String>, Vec<DateTime<Utc>>) = locked.into_iter().unzip();
        if ids.is_empty() {
            return Ok(Step { removed: 0, with_them: 0, next: None });
        }
        let query = sqlx::query(EVENTS).bind(&ids).bind(BATCH).execute(&mut *transaction);
        let events = timed(Statement::ForgetImprovements, query).await?.rows_affected();
        let query = sqlx::query(IMPROVEMENTS_OF).bind(&ids).execute(&mut *transaction);
        let removed = timed(Statement::ForgetImprovements, query).await?.rows_affected();
        transaction.commit().await?;
        let next = if events < BATCH.unsigned_abs() { times.into_iter().min() } else { times.into_iter().max() };
        Ok(Step { removed, with_them: events, next })
    }

    /// Removes entries of a service with what belongs to each, not newer than `upto`; those that something refers to are left.
    ///
    /// # Errors
    /// The server's.
    pub async fn remove_entries(
        &self,
        service: &str,
        pick: Pick,
        upto: Option<DateTime<Utc>>,
    ) -> Result<Step<DateTime<Utc>>, Error> {
        let mut transaction = self.begin_removing().await?;
        let statement = if pick == Pick::Newest { NEWEST } else { LEAVES };
        let query = sqlx::query_as(statement).bind(service).bind(upto).bind(BATCH).fetch_all(&mut *transaction);
        let picked: Vec<(String, DateTime<Utc>)> = timed_rows(Statement::ForgetEntries, query).await?;
        let (ids, times): (Vec<String>, Vec<DateTime<Utc>>) = picked.into_iter().unzip();
        let oldest = times.into_iter().min();
        let query = sqlx::query_as(TAKE).bind(ids).fetch_all(&mut *transaction);
        let mut picked: Vec<(String, DateTime<Utc>)> = timed_rows(Statement::ForgetEntries, query).await?;
        let held = held(&mut transaction, &picked).await?;
        let newest_held = picked.iter().filter(|(id, _)| held.contains(id)).map(|(_, at)| *at).max();
        picked.retain(|(id, _)| !held.contains(id));
        let mut removed = 0;
        if !picked.is_empty() {
            let ids: Vec<String> = picked.into_iter().map(|(id, _)| id).collect();
            let query = sqlx::query(CONTENTS).bind(&ids).execute(&mut *transaction);
            timed(Statement::ForgetEntries, query).await?;
            let query = sqlx::query(ENTRIES).bind(ids).execute(&mut *transaction);
            removed = timed(Statement::ForgetEntries, query).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(Step { removed, with_them: 0, next: newest_held.or(oldest) })
    }

    async fn begin_removing(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let mut transaction = self.database.general.begin().await?;
        sqlx::raw_sql(BY_INDEX).execute(&mut *transaction).await?;
        Ok(transaction)
    }
}

async fn held(connection: &mut PgConnection, picked: &[(String, DateTime<Utc>)]) -> Result<HashSet<String>, Error> {
    let ids: Vec<&str> = picked.iter().map(|(id, _)| id.as_str()).collect();
    let query = sqlx::query_scalar(HELD).bind(ids).fetch_all(connection);
    Ok(timed_rows(Statement::ForgetEntries, query).await?.into_iter().collect())
}
