//! Queueing improvements, by group commit.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{by_id, improvement, improvement_columns};
use crate::batch::Batch;
use crate::db::{Database, Error, timed_rows};
use crate::domain::improvement::{Improvement, NewImprovement};
use crate::store::archive::Created;
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// An unknown parent keeps its row out, not the others'. By the clock, not by the transaction's start, so that what
/// came first is the oldest of its batch, too.
const INSERT: &str = sql!(
    ImprovementInsert,
    "INSERT INTO dgm_improvements AS i (improvement_id, service_name, parent_entry_id, problem_statement, priority,
        max_improvement_time, max_attempts, constitutional_constraints, performance_metrics, create_digest, created_by,
        created_at)
     SELECT n.*, clock_timestamp()
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::jsonb[],
        $9::jsonb[], $10::bytea[], $11::uuid[])
        AS n (id, service, parent, problem, priority, time, attempts, constraints, metrics, digest, by)
     WHERE n.parent IS NULL OR EXISTS (SELECT FROM dgm_archive a WHERE a.archive_entry_id = n.parent)
     ON CONFLICT (improvement_id) DO NOTHING RETURNING ",
    improvement_columns!()
);

const KNOWN: &str = sql!(
    ImprovementGet,
    "SELECT i.create_digest, ",
    improvement_columns!(),
    " FROM dgm_improvements i WHERE i.improvement_id = ANY($1)"
);

/// An improvement to be queued, whatever becomes of others.
#[derive(Debug)]
pub(super) struct Queueing {
    pub(super) id: String,
    pub(super) new: NewImprovement,
    pub(super) digest: Vec<u8>,
    pub(super) by: Option<Uuid>,
}

impl Batch for Queueing {
    const LABEL: Writer = Writer::Improvements;
    const FULL: usize = 64;
    type Context = Database;
    type Reply = (Created, Improvement);

    async fn write(database: &Database, batch: &[Self], _: bool) -> Result<Vec<Result<Self::Reply, Error>>, Error> {
        let mut connection = database.writing.acquire().await?;
        let mut queued = insert(&mut connection, batch).await?;
        let known = if queued.len() == batch.len() {
            HashMap::new()
        } else {
            let old = batch.iter().filter(|one| !queued.contains_key(&one.id)).map(|one| one.id.as_str());
            // One that is twice in the batch is among the new.
            known(&mut connection, old.chain(queued.keys().map(String::as_str)).collect()).await?
        };
        let reply = |one: &Self| {
            if let Some(improvement) = queued.remove(&one.id) {
                return Ok((Created::New, improvement));
            }
            let Some((digest, improvement)) = known.get(&one.id) else {
                return Err(Error::MissingReference("dgm_improvements_parent_entry_id_fkey".to_owned()));
            };
            let same = digest.as_ref() == Some(&one.digest);
            Ok((if same { Created::Same } else { Created::Conflict }, improvement.clone()))
        };
        Ok(batch.iter().map(reply).collect())
    }
}

async fn insert(connection: &mut PgConnection, batch: &[Queueing]) -> Result<HashMap<String, Improvement>, Error> {
    fn column<'a, T>(batch: &'a [Queueing], of: impl Fn(&'a NewImprovement) -> T) -> Vec<T> {
        batch.iter().map(|one| of(&one.new)).collect()
    }
    let query = sqlx::query(INSERT)
        .bind(batch.iter().map(|one| one.id.as_str()).collect::<Vec<_>>())
        .bind(column(batch, |new| new.service_name.as_str()))
        .bind(column(batch, |new| new.parent_entry_id.as_deref()))
        .bind(column(batch, |new| new.problem_statement.as_str()))
        .bind(column(batch, |new| new.priority.as_str()))
        .bind(column(batch, |new| new.max_improvement_time))
        .bind(column(batch, |new| new.max_attempts))
        .bind(column(batch, |new| new.constitutional_constraints.clone().map(Value::Object)))
        .bind(column(batch, |new| Value::Object(new.performance_metrics.clone())))
        .bind(batch.iter().map(|one| one.digest.as_slice()).collect::<Vec<_>>())
        .bind(batch.iter().map(|one| one.by).collect::<Vec<_>>())
        .try_map(|row| improvement(&row))
        .fetch_all(connection);
    Ok(by_id(timed_rows(Statement::ImprovementInsert, query).await?))
}

type Known = HashMap<String, (Option<Vec<u8>>, Improvement)>;

async fn known(connection: &mut PgConnection, ids: Vec<&str>) -> Result<Known, Error> {
    let query = sqlx::query(KNOWN)
        .bind(ids)
        .try_map(|row: PgRow| Ok((row.try_get::<Option<Vec<u8>>, _>("create_digest")?, improvement(&row)?)))
        .fetch_all(connection);
    let known = timed_rows(Statement::ImprovementGet, query).await?;
    Ok(known.into_iter().map(|known| (known.1.improvement_id.clone(), known)).collect())
}
