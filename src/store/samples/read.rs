//! The newest samples, ranges and trends.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::SampleStore;
use crate::db::{Error, timed_rows};
use crate::domain::sample::{Current, Point, Range};
use crate::telemetry::catalogue::statements::{Statement, sql};

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

impl SampleStore {
    /// The newest sample of each metric type of a service, none older than `since`.
    ///
    /// # Errors
    /// The server's.
    pub async fn newest(&self, service: &str, since: DateTime<Utc>) -> Result<Vec<Current>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
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
            })
            .await
    }

    /// Aggregates of one series over a range.
    ///
    /// # Errors
    /// The server's.
    pub async fn range(&self, service: &str, metric_type: &str, range: Range) -> Result<Vec<Point>, Error> {
        self.database
            .read_behind(|mut connection| async move {
                let query = sqlx::query(RANGE)
                    .bind(service)
                    .bind(metric_type)
                    .bind(range.from)
                    .bind(range.to)
                    .bind(range.step.as_seconds_f64())
                    .try_map(|row| point(&row))
                    .fetch_all(&mut *connection);
                timed_rows(Statement::SamplesRange, query).await
            })
            .await
    }

    /// Aggregates of every series of a service over a range, ordered by metric type and time.
    ///
    /// # Errors
    /// The server's.
    pub async fn trend(&self, service: &str, range: Range) -> Result<Vec<(String, Point)>, Error> {
        self.database
            .read_behind(|mut connection| async move {
                let query = sqlx::query(TREND)
                    .bind(service)
                    .bind(range.from)
                    .bind(range.to)
                    .bind(range.step.as_seconds_f64())
                    .try_map(|row: sqlx::postgres::PgRow| Ok((row.try_get("metric_type")?, point(&row)?)))
                    .fetch_all(&mut *connection);
                timed_rows(Statement::SamplesTrend, query).await
            })
            .await
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
