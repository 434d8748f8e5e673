//! Forgetting services whole: what there is of them, and who refers to it from outside.

mod remove;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

pub use remove::{Pick, Step};

use crate::db::{Database, Error, timed, timed_rows};
use crate::domain::partition::{Partition, PartitionState};
use crate::domain::purge::{Footprint, Reference, Survey};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Every name that a table knows, one descent of an index each. All of them, since in the order of most collations those
/// that begin alike do not lie together.
macro_rules! names {
    ($table:literal, $within:literal) => {
        concat!(
            "(SELECT service_name FROM ",
            $table,
            " WHERE true",
            $within,
            " ORDER BY service_name LIMIT 1)
             UNION ALL
             SELECT (SELECT t.service_name FROM ",
            $table,
            " t WHERE t.service_name > n.name",
            $within,
            " ORDER BY t.service_name LIMIT 1) FROM n WHERE n.name IS NOT NULL"
        )
    };
}
macro_rules! names_of {
    ($table:literal) => {
        concat!("WITH RECURSIVE n (name) AS (", names!($table, ""), ") SELECT name::text FROM n WHERE name IS NOT NULL")
    };
}
const IN_ARCHIVE: &str = sql!(ForgetSurvey, names_of!("dgm_archive"));
const IN_QUEUE: &str = sql!(ForgetSurvey, names_of!("dgm_improvements"));
/// Month by month, so that each statement reads one partition.
const IN_MONTH: &str = sql!(
    ForgetSurvey,
    "WITH RECURSIVE n (name) AS (",
    names!("dgm_performance_metrics", " AND measurement_timestamp >= $1 AND measurement_timestamp < $2"),
    ") SELECT name::text FROM n WHERE name IS NOT NULL"
);

/// It holds nobody up, and of many services takes its time. A month that was filled since the last ANALYZE looks small enough
/// to be read whole; what is asked for here is found by an index always.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
    SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = off";

/// A lease is live by the clock that leases are judged by.
const COUNTS: &str = sql!(
    ForgetSurvey,
    "
    SELECT s.name, a.entries, i.improvements, i.leased, i.first_leased, i.leased_until FROM unnest($1::text[]) AS s (name)
    CROSS JOIN LATERAL (SELECT count(*) AS entries FROM dgm_archive WHERE service_name = s.name) a
    CROSS JOIN LATERAL (
        SELECT count(*) AS improvements, count(*) FILTER (WHERE live) AS leased,
            min(improvement_id) FILTER (WHERE live) AS first_leased, max(lease_expires_at) FILTER (WHERE live) AS leased_until
        FROM (SELECT improvement_id::text, lease_expires_at, status = 'running' AND lease_expires_at > now() AS live
              FROM dgm_improvements WHERE service_name = s.name) all_of_it
    ) i ORDER BY s.name"
);
const SAMPLES: &str = sql!(
    ForgetSurvey,
    "
    SELECT s.name, m.count FROM unnest($1::text[]) AS s (name) CROSS JOIN LATERAL (
        SELECT count(*) AS count FROM dgm_performance_metrics
        WHERE service_name = s.name AND measurement_timestamp >= $2 AND measurement_timestamp < $3
    ) m WHERE m.count > 0"
);

/// What belongs to other services and refers to entries of these. `OFFSET 0` keeps the planner to looking them up by index.
const REFERENCES: &str = sql!(
    ForgetSurvey,
    "
    WITH mine AS (
        SELECT a.id, s.name FROM unnest($1::text[]) AS s (name) CROSS JOIN LATERAL (
            SELECT archive_entry_id::text AS id FROM dgm_archive WHERE service_name = s.name OFFSET 0) a
    ), other AS (
        SELECT 'child' AS kind, o.*, m.name FROM mine m CROSS JOIN LATERAL (
            SELECT service_name, archive_entry_id AS id FROM dgm_archive
            WHERE parent_entry_id = m.id AND service_name <> ALL($1) OFFSET 0) o
        UNION ALL
        SELECT 'inspired', o.*, m.name FROM mine m CROSS JOIN LATERAL (
            SELECT a.service_name, a.archive_entry_id FROM dgm_archive_inspirations i
            CROSS JOIN LATERAL (SELECT service_name, archive_entry_id FROM dgm_archive
                                WHERE archive_entry_id = i.archive_entry_id AND service_name <> ALL($1) OFFSET 0) a
            WHERE i.inspiration_entry_id = m.id OFFSET 0) o
        UNION ALL
        SELECT 'improves', o.*, m.name FROM mine m CROSS JOIN LATERAL (
            SELECT service_name, improvement_id FROM dgm_improvements
            WHERE parent_entry_id = m.id AND service_name <> ALL($1) OFFSET 0) o
        UNION ALL
        SELECT 'made', o.*, m.name FROM mine m CROSS JOIN LATERAL (
            SELECT service_name, improvement_id FROM dgm_improvements
            WHERE archive_entry_id = m.id AND service_name <> ALL($1) OFFSET 0) o
    )
    SELECT kind, service_name::text AS service, name AS of, count(DISTINCT id) AS count, min(id::text) AS first
    FROM other GROUP BY kind, service_name, name ORDER BY kind, service_name, name"
);

/// What belongs to services, for removing it; cheap to clone.
#[derive(Debug, Clone)]
pub struct PurgeStore {
    database: Database,
}

impl PurgeStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// What the services of exactly these names have, whether they exist or not, and those that match. Reads the samples of
    /// the attached ones of `partitions`.
    ///
    /// # Errors
    /// The server's.
    pub async fn survey(
        &self,
        partitions: Vec<Partition>,
        exact: &[String],
        matches: impl Fn(&str) -> bool,
    ) -> Result<Survey, Error> {
        let (attached, apart): (Vec<_>, Vec<_>) = partitions.into_iter().partition(is_a_month);
        let months: Vec<NaiveDate> = attached.iter().filter_map(|partition| partition.month).collect();
        let mut transaction = self.database.general.begin().await?;
        sqlx::raw_sql(BEGIN).execute(&mut *transaction).await?;
        let mut names: BTreeSet<String> = exact.iter().cloned().collect();
        names.extend(known_names(&mut transaction, &months).await?.into_iter().filter(|name| matches(name)));
        let names: Vec<String> = names.into_iter().collect();

        let query = sqlx::query(COUNTS).bind(&names).try_map(|row| footprint(&row)).fetch_all(&mut *transaction);
        let mut services: Vec<Footprint> = timed_rows(Statement::ForgetSurvey, query).await?;
        for month in months {
            let (from, to) = bounds(month);
            let query = sqlx::query_as(SAMPLES).bind(&names).bind(from).bind(to).persistent(false);
            let counts: Vec<(String, i64)> =
                timed_rows(Statement::ForgetSurvey, query.fetch_all(&mut *transaction)).await?;
            for (name, count) in counts {
                if let Some(of) = services.iter_mut().find(|footprint| footprint.service == name) {
                    of.samples.insert(month, count);
                }
            }
        }
        let query = sqlx::query(REFERENCES).bind(&names).try_map(|row| reference(&row)).fetch_all(&mut *transaction);
        let references = timed_rows(Statement::ForgetSurvey, query).await?;
        transaction.commit().await?;
        let apart = apart.into_iter().map(|partition| partition.name).collect();
        Ok(Survey { services, references, apart })
    }
}

fn is_a_month(partition: &Partition) -> bool {
    partition.state == PartitionState::Attached && partition.month.is_some()
}

async fn known_names(connection: &mut PgConnection, months: &[NaiveDate]) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for statement in [IN_ARCHIVE, IN_QUEUE] {
        let query = sqlx::query_scalar::<_, String>(statement).fetch_all(&mut *connection);
        names.extend(timed_rows(Statement::ForgetSurvey, query).await?);
    }
    for month in months {
        let (from, to) = bounds(*month);
        let query = sqlx::query_scalar::<_, String>(IN_MONTH).bind(from).bind(to).persistent(false);
        names.extend(timed(Statement::ForgetSurvey, query.fetch_all(&mut *connection)).await?);
    }
    Ok(names)
}

/// From the start of a month to the start of the next one, by UTC.
fn bounds(month: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let next = month.checked_add_months(chrono::Months::new(1)).unwrap_or(NaiveDate::MAX);
    (month.and_time(NaiveTime::MIN).and_utc(), next.and_time(NaiveTime::MIN).and_utc())
}

fn footprint(row: &PgRow) -> Result<Footprint, sqlx::Error> {
    Ok(Footprint {
        service: row.try_get("name")?,
        entries: row.try_get("entries")?,
        improvements: row.try_get("improvements")?,
        leased: row.try_get("leased")?,
        first_leased: row.try_get("first_leased")?,
        leased_until: row.try_get("leased_until")?,
        samples: BTreeMap::new(),
    })
}

fn reference(row: &PgRow) -> Result<Reference, sqlx::Error> {
    Ok(Reference {
        kind: row.try_get("kind")?,
        service: row.try_get("service")?,
        of: row.try_get("of")?,
        count: row.try_get("count")?,
        first: row.try_get("first")?,
    })
}
