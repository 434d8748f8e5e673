//! Inserting samples, by group commit.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::batch::Batch;
use crate::db::{Database, Error, timed_rows};
use crate::domain::partition::month_of;
use crate::domain::sample::{Ingested, NewSample};
use crate::store::partitions::PartitionStore;
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

macro_rules! insert {
    ($rest:literal) => {
        concat!(
            "INSERT INTO dgm_performance_metrics
                (id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::timestamptz[], $6::text[])",
            $rest
        )
    };
}
/// For generated ids, which cannot exist yet.
const INSERT_FRESH: &str = sql!(SamplesInsert, insert!(""));
const INSERT: &str = sql!(SamplesInsert, insert!(" ON CONFLICT DO NOTHING RETURNING id"));

/// The samples of one request, stored all or none.
#[derive(Debug)]
pub(super) struct Insert {
    rows: Vec<SampleRow>,
}

#[derive(Debug)]
struct SampleRow {
    sample: NewSample,
    id: Uuid,
    at: DateTime<Utc>,
}

/// What an insert needs.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) database: Database,
    pub(super) partitions: PartitionStore,
}

impl Insert {
    pub(super) fn new(samples: Vec<NewSample>, now: DateTime<Utc>) -> Self {
        let row = |sample: NewSample| SampleRow {
            id: sample.id.unwrap_or_else(Uuid::now_v7),
            at: sample.measurement_timestamp.unwrap_or(now),
            sample,
        };
        Self { rows: samples.into_iter().map(row).collect() }
    }

    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }
}

impl Batch for Insert {
    const LABEL: Writer = Writer::Samples;
    const FULL: usize = 256;
    type Context = Context;
    type Reply = Ingested;

    fn rows(&self) -> usize {
        self.rows.len()
    }

    async fn write(
        context: &Context,
        batch: &[Self],
        outcome_unknown: bool,
    ) -> Result<Vec<Result<Ingested, Error>>, Error> {
        let rows: Vec<&SampleRow> = batch.iter().flat_map(|insert| &insert.rows).collect();
        let months = || rows.iter().filter_map(|row| month_of(row.at));
        context.partitions.ensure_months(months()).await?;
        let fresh = !outcome_unknown && rows.iter().all(|row| row.sample.id.is_none());
        let mut stored = match insert_rows(&context.database, &rows, fresh).await {
            // Retention dropped a month that was known to exist.
            Err(Error::NoPartition) => {
                context.partitions.forget_months();
                context.partitions.ensure_months(months()).await?;
                insert_rows(&context.database, &rows, fresh).await?
            }
            other => other?,
        };
        let reply = |insert: &Self| {
            // A generated id is stored, if not by this statement then by the one whose answer was lost. An id that two
            // requests of a batch share counts for the first.
            let accepted = insert.rows.iter().filter(|row| row.sample.id.is_none() || stored.remove(&row.id)).count();
            Ok(Ingested { accepted: accepted as u64, duplicates: (insert.rows.len() - accepted) as u64 })
        };
        Ok(batch.iter().map(reply).collect())
    }
}

/// Inserts the samples of one request in a batch of its own.
pub(super) async fn insert_alone(context: &Context, request: Insert) -> Result<Ingested, Error> {
    let replies = Insert::write(context, std::slice::from_ref(&request), false).await?;
    replies.into_iter().next().unwrap_or(Err(Error::Busy))
}

/// Inserts the rows and returns the ids of new ones; of generated ids, none.
async fn insert_rows(database: &Database, rows: &[&SampleRow], fresh: bool) -> Result<HashSet<Uuid>, Error> {
    fn column<'a, T>(rows: &[&'a SampleRow], of: impl Fn(&'a SampleRow) -> T) -> Vec<T> {
        rows.iter().copied().map(of).collect()
    }
    let mut connection = database.writing.acquire().await?;
    let query = sqlx::query_scalar(if fresh { INSERT_FRESH } else { INSERT })
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.sample.service_name.as_str()))
        .bind(column(rows, |row| row.sample.metric_type.as_str()))
        .bind(column(rows, |row| row.sample.metric_value))
        .bind(column(rows, |row| row.at))
        .bind(column(rows, |row| row.sample.archive_entry_id.as_deref()))
        .fetch_all(&mut *connection);
    Ok(timed_rows(Statement::SamplesInsert, query).await?.into_iter().collect())
}
