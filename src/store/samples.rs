//! Statements on performance metric samples.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use uuid::Uuid;

use super::error::Error;
use super::partitions::month_of;
use super::pool::{Store, timed};
use crate::domain::sample::{Current, Ingested, NewSample, Point, Range};
use crate::telemetry::catalogue::statements::Statement;

const INSERT: &str = "
    INSERT INTO dgm_performance_metrics
        (id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id)
    SELECT coalesce(s.id, gen_random_uuid()), s.service, s.type, s.value, s.at, s.entry
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::timestamptz[], $6::text[])
        AS s (id, service, type, value, at, entry)
    ON CONFLICT DO NOTHING";

/// A loose index scan: one descent for each metric type, then one for its newest sample.
const CURRENT: &str = "
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
    ) newest WHERE t.metric_type IS NOT NULL ORDER BY t.metric_type";

const RANGE: &str = "
    SELECT date_bin(make_interval(secs => $5), measurement_timestamp, $3) AS bucket, count(*) AS count,
        avg(metric_value) AS avg, min(metric_value) AS min, max(metric_value) AS max,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY metric_value) AS quantiles
    FROM dgm_performance_metrics
    WHERE service_name = $1 AND metric_type = $2 AND measurement_timestamp >= $3 AND measurement_timestamp < $4
    GROUP BY bucket ORDER BY bucket";

const TREND: &str = "
    SELECT metric_type, date_bin(make_interval(secs => $4), measurement_timestamp, $2) AS bucket, count(*) AS count,
        avg(metric_value) AS avg, min(metric_value) AS min, max(metric_value) AS max,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY metric_value) AS quantiles
    FROM dgm_performance_metrics
    WHERE service_name = $1 AND measurement_timestamp >= $2 AND measurement_timestamp < $3
    GROUP BY metric_type, bucket ORDER BY metric_type, bucket";

impl Store {
    /// Stores samples, all or none; they are durable when this answers. Partitions that are missing are made.
    ///
    /// # Errors
    /// [`Error::NoPartition`] when a partition vanished twice under our hands.
    pub async fn insert_samples(&self, samples: &[NewSample], now: DateTime<Utc>) -> Result<Ingested, Error> {
        let at = |sample: &NewSample| sample.measurement_timestamp.unwrap_or(now);
        let months = || samples.iter().filter_map(|sample| month_of(at(sample)));
        self.ensure_months(months()).await?;
        let accepted = match self.insert_sample_rows(samples, now).await {
            // Retention dropped a month that we knew.
            Err(Error::NoPartition) => {
                self.forget_months();
                self.ensure_months(months()).await?;
                self.insert_sample_rows(samples, now).await?
            }
            other => other?,
        };
        Ok(Ingested { accepted, duplicates: samples.len() as u64 - accepted })
    }

    async fn insert_sample_rows(&self, samples: &[NewSample], now: DateTime<Utc>) -> Result<u64, Error> {
        fn column<'a, T>(samples: &'a [NewSample], of: impl Fn(&'a NewSample) -> T) -> Vec<T> {
            samples.iter().map(of).collect()
        }
        let mut connection = self.acquire().await?;
        let query = sqlx::query(INSERT)
            .bind(column::<Option<Uuid>>(samples, |s| s.id))
            .bind(column(samples, |s| s.service_name.as_str()))
            .bind(column(samples, |s| s.metric_type.as_str()))
            .bind(column(samples, |s| s.metric_value))
            .bind(column(samples, |s| s.measurement_timestamp.unwrap_or(now)))
            .bind(column(samples, |s| s.archive_entry_id.as_deref()))
            .execute(&mut *connection);
        Ok(timed(Statement::SamplesInsert, query).await?.rows_affected())
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
        timed(Statement::SamplesCurrent, query).await
    }

    /// Aggregates of one series over a range.
    ///
    /// # Errors
    /// The server's.
    pub async fn sample_range(&self, service: &str, metric_type: &str, range: Range) -> Result<Vec<Point>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query(RANGE)
            .bind(service)
            .bind(metric_type)
            .bind(range.from)
            .bind(range.to)
            .bind(range.step.as_seconds_f64())
            .try_map(|row| point(&row))
            .fetch_all(&mut *connection);
        timed(Statement::SamplesRange, query).await
    }

    /// Aggregates of every series of a service over a range, ordered by metric type and time.
    ///
    /// # Errors
    /// The server's.
    pub async fn sample_trend(&self, service: &str, range: Range) -> Result<Vec<(String, Point)>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query(TREND)
            .bind(service)
            .bind(range.from)
            .bind(range.to)
            .bind(range.step.as_seconds_f64())
            .try_map(|row: sqlx::postgres::PgRow| Ok((row.try_get("metric_type")?, point(&row)?)))
            .fetch_all(&mut *connection);
        timed(Statement::SamplesTrend, query).await
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
