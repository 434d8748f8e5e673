//! Statements on performance metric samples.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use uuid::Uuid;

use super::error::Error;
use super::partitions::month_of;
use super::pool::{Store, timed_rows};
use super::writer::Batch;
use crate::domain::sample::{Current, Ingested, NewSample, Point, Range};
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
/// For ids that we made just now, which nobody can have used.
const INSERT_FRESH: &str = sql!(SamplesInsert, insert!(""));
const INSERT: &str = sql!(SamplesInsert, insert!(" ON CONFLICT DO NOTHING RETURNING id"));

/// A request with more samples than this is a batch of its own.
const JOINED: usize = 256;

/// A loose index scan: one descent for each metric type, then one for its newest sample.
const CURRENT: &str = sql!(
    SamplesCurrent,
    "
    WITH RECURSIVE types (metric_type) AS (
        (SELECT metric_type FROM dgm_performance_metrics
         WHERE service_name = $1 AND measurement_timestamp >= $2 ORDER BY metric_type LIMIT 1)
        UNION ALL
        SELECT (SELECT m.metric_type FROM dgm_performance_metrics m
                WHERE m.service_name = $1 AND m.metric_type > t.metric_type AND m.measurement_timestamp >= $2
                ORDER BY m.metric_type LIMIT 1)
        FROM types t WHERE t.metric_type IS NOT NULL
    )
    SELECT t.metric_type, newest.* FROM types t CROSS JOIN LATERAL (
        SELECT metric_value, measurement_timestamp, archive_entry_id FROM dgm_performance_metrics
        WHERE service_name = $1 AND metric_type = t.metric_type AND measurement_timestamp >= $2
        ORDER BY measurement_timestamp DESC, id LIMIT 1
    ) newest WHERE t.metric_type IS NOT NULL ORDER BY t.metric_type"
);

const RANGE: &str = sql!(
    SamplesRange,
    "
    SELECT date_bin(make_interval(secs => $5), measurement_timestamp, $3) AS bucket, count(*) AS count,
        avg(metric_value) AS avg, min(metric_value) AS min, max(metric_value) AS max,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY metric_value) AS quantiles
    FROM dgm_performance_metrics
    WHERE service_name = $1 AND metric_type = $2 AND measurement_timestamp >= $3 AND measurement_timestamp < $4
    GROUP BY bucket ORDER BY bucket"
);

/// Series by series, so that only the range of each is read: by service alone a whole month would be.
const TREND: &str = sql!(
    SamplesTrend,
    "
    WITH RECURSIVE types (metric_type) AS (
        (SELECT metric_type FROM dgm_performance_metrics
         WHERE service_name = $1 AND measurement_timestamp >= $2 AND measurement_timestamp < $3
         ORDER BY metric_type LIMIT 1)
        UNION ALL
        SELECT (SELECT m.metric_type FROM dgm_performance_metrics m
                WHERE m.service_name = $1 AND m.metric_type > t.metric_type
                  AND m.measurement_timestamp >= $2 AND m.measurement_timestamp < $3
                ORDER BY m.metric_type LIMIT 1)
        FROM types t WHERE t.metric_type IS NOT NULL
    )
    SELECT t.metric_type, p.* FROM types t CROSS JOIN LATERAL (
        SELECT date_bin(make_interval(secs => $4), measurement_timestamp, $2) AS bucket, count(*) AS count,
            avg(metric_value) AS avg, min(metric_value) AS min, max(metric_value) AS max,
            percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY metric_value) AS quantiles
        FROM dgm_performance_metrics
        WHERE service_name = $1 AND metric_type = t.metric_type
          AND measurement_timestamp >= $2 AND measurement_timestamp < $3
        GROUP BY bucket
    ) p WHERE t.metric_type IS NOT NULL ORDER BY t.metric_type, p.bucket"
);

/// The samples of one request, stored all or none.
#[derive(Debug)]
pub(super) struct Ingest {
    rows: Vec<SampleRow>,
}

#[derive(Debug)]
struct SampleRow {
    sample: NewSample,
    id: Uuid,
    at: DateTime<Utc>,
}

impl Batch for Ingest {
    const LABEL: Writer = Writer::Samples;
    const LARGE: usize = 256;
    type Reply = Ingested;

    fn rows(&self) -> usize {
        self.rows.len()
    }

    async fn write(store: &Store, batch: &[Self], again: bool) -> Result<Vec<Result<Ingested, Error>>, Error> {
        let rows: Vec<&SampleRow> = batch.iter().flat_map(|ingest| &ingest.rows).collect();
        let months = || rows.iter().filter_map(|row| month_of(row.at));
        store.ensure_months(months()).await?;
        let fresh = !again && rows.iter().all(|row| row.sample.id.is_none());
        let mut stored = match store.insert_samples(&rows, fresh).await {
            // Retention dropped a month that we knew.
            Err(Error::NoPartition) => {
                store.forget_months();
                store.ensure_months(months()).await?;
                store.insert_samples(&rows, fresh).await?
            }
            other => other?,
        };
        let reply = |ingest: &Self| {
            // An id that we made is stored, if not by this statement then by the one whose answer was lost. One that two
            // requests of a batch brought counts for the first.
            let accepted = ingest.rows.iter().filter(|row| row.sample.id.is_none() || stored.remove(&row.id)).count();
            Ok(Ingested { accepted: accepted as u64, duplicates: (ingest.rows.len() - accepted) as u64 })
        };
        Ok(batch.iter().map(reply).collect())
    }
}

impl Store {
    /// Stores samples, all or none; they are durable when this answers. Partitions that are missing are made. A sample
    /// without an id gets one that rises with time, so that rows of an hour lie together in the primary key.
    ///
    /// # Errors
    /// [`Error::NoPartition`] when a partition vanished twice under our hands, [`Error::Busy`].
    pub async fn ingest(&self, samples: Vec<NewSample>, now: DateTime<Utc>) -> Result<Ingested, Error> {
        let row = |sample: NewSample| SampleRow {
            id: sample.id.unwrap_or_else(Uuid::now_v7),
            at: sample.measurement_timestamp.unwrap_or(now),
            sample,
        };
        let ingest = Ingest { rows: samples.into_iter().map(row).collect() };
        if ingest.rows.len() <= JOINED {
            return self.writers.samples.write(self, ingest).await;
        }
        let replies = Ingest::write(self, std::slice::from_ref(&ingest), false).await?;
        replies.into_iter().next().unwrap_or(Err(Error::Busy))
    }

    /// The ids of the rows that were new; none where that goes without saying.
    async fn insert_samples(&self, rows: &[&SampleRow], fresh: bool) -> Result<HashSet<Uuid>, Error> {
        fn column<'a, T>(rows: &[&'a SampleRow], of: impl Fn(&'a SampleRow) -> T) -> Vec<T> {
            rows.iter().copied().map(of).collect()
        }
        let mut connection = self.acquire_writing().await?;
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

    /// The newest sample of each metric type of a service, none older than `since`.
    ///
    /// # Errors
    /// The server's.
    pub async fn current_samples(&self, service: &str, since: DateTime<Utc>) -> Result<Vec<Current>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query(CURRENT)
            .bind(service)
            .bind(since)
            .try_map(|row: sqlx::postgres::PgRow| {
                Ok(Current {
                    metric_type: row.try_get("metric_type")?,
                    metric_value: row.try_get("metric_value")?,
                    measurement_timestamp: row.try_get("measurement_timestamp")?,
                    archive_entry_id: row.try_get("archive_entry_id")?,
                })
            })
            .fetch_all(&mut *connection);
        timed_rows(Statement::SamplesCurrent, query).await
    }

    /// Aggregates of one series over a range.
    ///
    /// # Errors
    /// The server's.
    pub async fn sample_range(&self, service: &str, metric_type: &str, range: Range) -> Result<Vec<Point>, Error> {
        let mut connection = self.acquire_reading().await?;
        let query = sqlx::query(RANGE)
            .bind(service)
            .bind(metric_type)
            .bind(range.from)
            .bind(range.to)
            .bind(range.step.as_seconds_f64())
            .try_map(|row| point(&row))
            .fetch_all(&mut *connection);
        timed_rows(Statement::SamplesRange, query).await
    }

    /// Aggregates of every series of a service over a range, ordered by metric type and time.
    ///
    /// # Errors
    /// The server's.
    pub async fn sample_trend(&self, service: &str, range: Range) -> Result<Vec<(String, Point)>, Error> {
        let mut connection = self.acquire_reading().await?;
        let query = sqlx::query(TREND)
            .bind(service)
            .bind(range.from)
            .bind(range.to)
            .bind(range.step.as_seconds_f64())
            .try_map(|row: sqlx::postgres::PgRow| Ok((row.try_get("metric_type")?, point(&row)?)))
            .fetch_all(&mut *connection);
        timed_rows(Statement::SamplesTrend, query).await
    }
}

fn point(row: &sqlx::postgres::PgRow) -> Result<Point, sqlx::Error> {
    let quantiles: Vec<f64> = row.try_get("quantiles")?;
    let quantile = |index: usize| quantiles.get(index).copied().unwrap_or(f64::NAN);
    Ok(Point {
        timestamp: row.try_get("bucket")?,
        count: row.try_get("count")?,
        avg: row.try_get("avg")?,
        min: row.try_get("min")?,
        max: row.try_get("max")?,
        p50: quantile(0),
        p95: quantile(1),
        p99: quantile(2),
    })
}
