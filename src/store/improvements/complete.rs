//! Completing improvements with their archive entries, by group commit.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::lifecycle::{Outcome, Refusal};
use super::{by_id, improvement, improvement_columns, in_order, rounds};
use crate::batch::Batch;
use crate::db::{Database, Error, timed_rows};
use crate::domain::archive::NewEntry;
use crate::domain::improvement::{Completion, Improvement, ResultEntry, Status};
use crate::store::archive::{Created, NewRow, bind_entries, create, insert_from_arrays, insertable};
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// In order, so that two batches never wait for each other.
const LOCK: &str = sql!(
    ImprovementComplete,
    "SELECT ",
    improvement_columns!(),
    " FROM dgm_improvements i WHERE i.improvement_id = ANY($1) ORDER BY i.improvement_id FOR UPDATE"
);

/// Of those that are locked and were found held.
const COMPLETE: &str = sql!(
    ImprovementComplete,
    "UPDATE dgm_improvements i SET status = 'completed', progress = 100, results = d.results,
        archive_entry_id = d.entry, completed_at = now(), error_message = NULL, lease_expires_at = NULL
     FROM unnest($1::text[], $2::jsonb[], $3::text[]) AS d (id, results, entry)
     WHERE i.improvement_id = d.id RETURNING ",
    improvement_columns!()
);

const STATES: &str = sql!(
    ImprovementComplete,
    "SELECT ",
    improvement_columns!(),
    " FROM dgm_improvements i WHERE i.improvement_id = ANY($1)"
);

/// Those whose lease is still held, and whose entry is new, in one statement: it locks in order, writes the entries, and completes.
const COMPLETE_AT_ONCE: &str = sql!(
    ImprovementComplete,
    "WITH held AS MATERIALIZED (
        SELECT i.id, d.entry, d.results
        FROM unnest($15::text[], $16::uuid[], $17::text[], $18::jsonb[]) AS d (id, token, entry, results)
        JOIN dgm_improvements i ON i.improvement_id = d.id
        WHERE i.status = 'running' AND i.lease_token = d.token ORDER BY i.improvement_id FOR UPDATE OF i),
     created AS (",
    insert_from_arrays!(" AND e.id IN (SELECT entry FROM held)"),
    ")
     UPDATE dgm_improvements i SET status = 'completed', progress = 100, results = held.results,
        archive_entry_id = held.entry, completed_at = now(), error_message = NULL, lease_expires_at = NULL
     FROM held JOIN created ON created.archive_entry_id = held.entry WHERE i.id = held.id RETURNING ",
    improvement_columns!()
);

/// What a worker has done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) id: String,
    pub(super) completion: Completion,
    pub(super) by: Option<Uuid>,
}

impl Batch for Done {
    const LABEL: Writer = Writer::Completions;
    // Some statements and a commit: a request that just missed a batch would wait for two.
    const WORKERS: usize = 3;
    const FULL: usize = 6;
    type Context = Database;
    type Reply = Outcome;

    async fn write(database: &Database, batch: &[Self], _: bool) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let mut replies = Replies::with_capacity(batch.len());
        for round in rounds(batch, |done| &done.id) {
            let (completed, others) = complete_at_once(database, round).await?;
            replies.extend(completed);
            if !others.is_empty() {
                replies.extend(complete_round(database, &others).await?);
            }
        }
        Ok(in_order(replies))
    }
}

type Replies = Vec<(usize, Result<Outcome, Error>)>;
type Round<'a> = Vec<(usize, &'a Done)>;

/// Completes those with nothing special about them, which are nearly all, and answers the others. What is read first without a lock is
/// checked again by the statement that writes, which is a transaction of its own: two round trips where [`complete_round`] needs five or
/// six.
async fn complete_at_once<'a>(database: &Database, round: Round<'a>) -> Result<(Replies, Round<'a>), Error> {
    let mut connection = database.writing.acquire().await?;
    let mut states = states(&mut connection, STATES, &round).await?;
    let (mut candidates, mut entries, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (place, done) in round {
        match (check(states.remove(&done.id), done.completion.lease_token), &done.completion.archive_entry) {
            (ControlFlow::Continue(state), Some(entry)) => {
                entries.push(NewRow { entry: entry_of(&state, entry), by: done.by });
                candidates.push((place, done));
            }
            _ => others.push((place, done)),
        }
    }
    let rows = insertable(&entries.iter().collect::<Vec<_>>());
    let (mut simple, mut inserted) = (Vec::new(), Vec::new());
    for (candidate, row) in candidates.into_iter().zip(rows) {
        match row {
            Some(row) => {
                simple.push(candidate);
                inserted.push(row);
            }
            None => others.push(candidate),
        }
    }
    if simple.is_empty() {
        return Ok((Replies::new(), others));
    }
    let ids = inserted.iter().map(|row| row.entry.archive_entry_id.as_deref()).collect::<Vec<_>>();
    let query = bind_entries!(sqlx::query(COMPLETE_AT_ONCE), inserted.iter().collect())
        .bind(simple.iter().map(|(_, done)| done.id.as_str()).collect::<Vec<_>>())
        .bind(simple.iter().map(|(_, done)| done.completion.lease_token).collect::<Vec<_>>())
        .bind(ids)
        .bind(simple.iter().map(|(_, done)| done.completion.results.clone().map(Value::Object)).collect::<Vec<_>>())
        .try_map(|row: PgRow| improvement(&row))
        .fetch_all(&mut *connection);
    let mut completed = by_id(timed_rows(Statement::ImprovementComplete, query).await?);
    let mut replies = Replies::with_capacity(simple.len());
    for (place, done) in simple {
        match completed.remove(&done.id) {
            Some(improvement) => replies.push((place, Ok(Ok(improvement)))),
            // Its lease was lost meanwhile, or its entry exists.
            None => others.push((place, done)),
        }
    }
    // In the order in which they are locked.
    others.sort_by_key(|(_, done)| &done.id);
    Ok((replies, others))
}

fn entry_of(state: &Improvement, entry: &ResultEntry) -> NewEntry {
    entry.clone().into_entry(&state.service_name, &state.problem_statement, state.parent_entry_id.as_deref())
}

/// Completes those whose lease is held, each improvement once.
async fn complete_round(database: &Database, round: &[(usize, &Done)]) -> Result<Replies, Error> {
    let mut transaction = database.writing.begin().await?;
    let mut states = states(&mut transaction, LOCK, round).await?;
    let mut replies = Replies::with_capacity(round.len());
    let (mut held, mut entries) = (Vec::new(), Vec::new());
    for (place, done) in round {
        match check(states.remove(&done.id), done.completion.lease_token) {
            ControlFlow::Break(outcome) => replies.push((*place, Ok(outcome))),
            ControlFlow::Continue(state) => {
                let entry = done.completion.archive_entry.as_ref().map(|entry| entry_of(&state, entry));
                let id = done.completion.archive_entry.as_ref().and_then(|entry| entry.archive_entry_id.as_deref());
                held.push((*place, *done, id));
                entries.extend(entry.map(|entry| NewRow { entry, by: done.by }));
            }
        }
    }
    let mut created = create(&mut transaction, &entries.iter().collect::<Vec<_>>()).await?.into_iter();
    let mut written = Vec::with_capacity(held.len());
    for (place, done, entry) in held {
        match entry.and_then(|entry| Some((entry, created.next()?))) {
            Some((_, Err(error))) => replies.push((place, Err(error))),
            Some((entry, Ok(Created::Conflict))) => {
                replies.push((place, Ok(Err(Refusal::EntryConflict(entry.to_owned())))));
            }
            None | Some((_, Ok(Created::New | Created::Same))) => written.push((place, done, entry)),
        }
    }
    let mut completed = update(&mut transaction, &written).await?;
    transaction.commit().await?;
    // They are locked: none can have gone.
    let reply = |(place, done, _): Held<'_>| (place, Ok(completed.remove(&done.id).ok_or(Refusal::Missing)));
    replies.extend(written.into_iter().map(reply));
    Ok(replies)
}

/// A place in the batch, what stands there, and the id of the entry that came of it.
type Held<'a> = (usize, &'a Done, Option<&'a str>);

async fn update(connection: &mut PgConnection, held: &[Held<'_>]) -> Result<HashMap<String, Improvement>, Error> {
    if held.is_empty() {
        return Ok(HashMap::new());
    }
    let query = sqlx::query(COMPLETE)
        .bind(held.iter().map(|(_, done, _)| done.id.as_str()).collect::<Vec<_>>())
        .bind(held.iter().map(|(_, done, _)| done.completion.results.clone().map(Value::Object)).collect::<Vec<_>>())
        .bind(held.iter().map(|(_, _, entry)| *entry).collect::<Vec<_>>())
        .try_map(|row: PgRow| improvement(&row))
        .fetch_all(connection);
    Ok(by_id(timed_rows(Statement::ImprovementComplete, query).await?))
}

type States = HashMap<String, (Improvement, Option<Uuid>)>;

/// By [`STATES`], or by [`LOCK`].
async fn states(
    connection: &mut PgConnection,
    statement: &'static str,
    round: &[(usize, &Done)],
) -> Result<States, Error> {
    let query = sqlx::query(statement)
        .bind(round.iter().map(|(_, done)| done.id.as_str()).collect::<Vec<_>>())
        .try_map(|row: PgRow| Ok((improvement(&row)?, row.try_get::<Option<Uuid>, _>("lease_token")?)))
        .fetch_all(connection);
    let states = timed_rows(Statement::ImprovementComplete, query).await?;
    Ok(states.into_iter().map(|state| (state.0.improvement_id.clone(), state)).collect())
}

/// The improvement, when this lease runs; else what is to be answered.
fn check(state: Option<(Improvement, Option<Uuid>)>, token: Uuid) -> ControlFlow<Outcome, Improvement> {
    let Some((state, holder)) = state else { return ControlFlow::Break(Err(Refusal::Missing)) };
    match state.status {
        Status::Completed if holder == Some(token) => ControlFlow::Break(Ok(state)),
        Status::Running if holder == Some(token) => ControlFlow::Continue(state),
        Status::Running => ControlFlow::Break(Err(Refusal::LeaseLost)),
        _ => ControlFlow::Break(Err(Refusal::State(Box::new(state)))),
    }
}
