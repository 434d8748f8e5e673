//! Single entries, candidates for parent selection, statistics and export.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::super::text::optional_json;
use super::{ArchiveStore, summary, summary_columns};
use crate::db::{Error, timed, timed_rows};
use crate::domain::archive::{Entry, Generation, Inspiration, InspirationKind, Stats, Status};
use crate::telemetry::catalogue::statements::{Statement, ranked, sql};

/// An entry with its inspirations as two parallel arrays, so that one round trip answers all. `as_of` is the xmin of the
/// statement's snapshot: changes by transactions below it are all in what was read.
macro_rules! select_entry {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, ",
            summary_columns!(),
            ", a.solution_patch, a.evaluation_results, a.created_by, i.ids AS inspiration_ids, i.kinds AS inspiration_kinds,
             pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS as_of
             FROM dgm_archive a CROSS JOIN LATERAL (
                 SELECT array_agg(inspiration_entry_id::text ORDER BY inspiration_entry_id, kind) AS ids,
                        array_agg(kind::text ORDER BY inspiration_entry_id, kind) AS kinds
                 FROM dgm_archive_inspirations WHERE archive_entry_id = a.archive_entry_id) i ",
            $rest
        )
    };
}

const GET: &str = sql!(ArchiveGet, select_entry!("WHERE a.archive_entry_id = $1"));

const EXISTING: &str = sql!(ArchiveGet, "SELECT archive_entry_id FROM dgm_archive WHERE archive_entry_id = ANY($1)");

/// Entries by id, and the best few of the children of others. Of an entry with very many children not all are looked at.
pub(super) const NEIGHBOURS: &str = sql!(ArchiveNeighbours, select_entry!("WHERE a.archive_entry_id IN (
        SELECT unnest($1::text[])
        UNION
        SELECT best.archive_entry_id FROM unnest($2::text[]) AS parent (id) CROSS JOIN LATERAL (
            SELECT c.archive_entry_id FROM (
                SELECT c.archive_entry_id, c.accuracy_score FROM dgm_archive c WHERE c.parent_entry_id = parent.id LIMIT 200
            ) c ORDER BY c.accuracy_score DESC LIMIT 3) best)"));

/// Level by level from the roots (entries without a parent in the service), so that parents come before children: the
/// generation would not do, since a peer's migrants share it with their parents. `OFFSET 0` keeps the planner to looking
/// up children and rows by index; left to itself it joins the whole table at every level.
const EXPORT: &str = sql!(
    ArchiveExport,
    "WITH RECURSIVE walk (archive_entry_id, generation_number, depth) AS (
        SELECT r.archive_entry_id, r.generation_number, 0 FROM dgm_archive r
        LEFT JOIN dgm_archive p ON p.archive_entry_id = r.parent_entry_id AND p.service_name = r.service_name
        WHERE r.service_name = $1 AND p.archive_entry_id IS NULL
        UNION ALL
        SELECT c.archive_entry_id, c.generation_number, w.depth + 1 FROM walk w CROSS JOIN LATERAL (
            SELECT archive_entry_id, generation_number FROM dgm_archive
            WHERE parent_entry_id = w.archive_entry_id AND service_name = $1 OFFSET 0) c
    )
    SELECT e.* FROM (
        SELECT archive_entry_id, generation_number, depth FROM walk
        ORDER BY depth, generation_number, archive_entry_id OFFSET 0
    ) w CROSS JOIN LATERAL (",
    select_entry!("WHERE a.archive_entry_id = w.archive_entry_id OFFSET 0"),
    ") e ORDER BY w.depth, w.generation_number, w.archive_entry_id"
);

/// One text for each scope: with a condition that admits all, a plan for both reads the whole table.
macro_rules! stats {
    ($scope:literal) => {
        concat!(
            "SELECT generation_number, count(*), max(accuracy_score) FILTER (WHERE ",
            ranked!(),
            ")::float8, avg(accuracy_score) FILTER (WHERE ",
            ranked!(),
            ")::float8, max(constitutional_compliance_score) FILTER (WHERE ",
            ranked!(),
            ")::float8,
                count(*) FILTER (WHERE status = 'active'), count(*) FILTER (WHERE status = 'failed'),
                count(*) FILTER (WHERE status = 'archived')
             FROM dgm_archive ",
            $scope,
            " GROUP BY generation_number ORDER BY generation_number"
        )
    };
}
const STATS_OF_ALL: &str = sql!(ArchiveStats, stats!(""));
const STATS_OF_ONE: &str = sql!(ArchiveStats, stats!("WHERE service_name = $1"));

/// By its score first: ordered by score alone, the plan for an unknown service walks the whole index.
macro_rules! best {
    ($scope:literal) => {
        concat!(
            "SELECT archive_entry_id FROM dgm_archive WHERE ",
            ranked!(),
            " ",
            $scope,
            " AND accuracy_score = (SELECT max(accuracy_score) FROM dgm_archive WHERE ",
            ranked!(),
            " ",
            $scope,
            ") ORDER BY created_at, archive_entry_id LIMIT 1"
        )
    };
}
const BEST_OF_ALL: &str = sql!(ArchiveBest, best!(""));
const BEST_OF_ONE: &str = sql!(ArchiveBest, best!("AND service_name = $1"));

/// An entry as it was read.
#[derive(Debug)]
pub struct Seen {
    /// The entry.
    pub entry: Entry,
    /// Every change by a transaction below this one is in it.
    pub as_of: i64,
}

impl ArchiveStore {
    /// One entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn find(&self, id: &str) -> Result<Option<Seen>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(GET).bind(id).try_map(|row| seen(&row)).fetch_optional(&mut *connection);
                timed(Statement::ArchiveGet, query).await
            })
            .await
    }

    /// Which of these ids are in the archive.
    ///
    /// # Errors
    /// The server's.
    pub async fn existing(&self, ids: &[String]) -> Result<Vec<String>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query_scalar(EXISTING).bind(ids).fetch_all(&mut *connection);
                timed_rows(Statement::ArchiveGet, query).await
            })
            .await
    }

    /// Every entry of a service as of one moment, parents before their children, one after the other to `each`; stops
    /// when that answers `Break`.
    ///
    /// # Errors
    /// The server's.
    pub async fn export(
        &self,
        service: &str,
        mut each: impl FnMut(Entry) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        let mut transaction = self.database.general.begin().await?;
        // Bounded by the reader, not by the clock.
        sqlx::raw_sql("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
        timed(Statement::ArchiveExport, async {
            let mut rows = sqlx::query(EXPORT).bind(service).fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                if each(entry(&row)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    /// The archive (or one service of it) in figures.
    ///
    /// # Errors
    /// The server's.
    pub async fn stats(&self, service: Option<&str>) -> Result<Stats, Error> {
        type Row = (i32, i64, Option<f64>, Option<f64>, Option<f64>, i64, i64, i64);
        self.database
            .read_behind(|mut connection| async move {
                let (stats, best) = match service {
                    Some(service) => {
                        (sqlx::query_as(STATS_OF_ONE).bind(service), sqlx::query_scalar(BEST_OF_ONE).bind(service))
                    }
                    None => (sqlx::query_as(STATS_OF_ALL), sqlx::query_scalar(BEST_OF_ALL)),
                };
                let rows: Vec<Row> = timed_rows(Statement::ArchiveStats, stats.fetch_all(&mut *connection)).await?;
                let best_entry_id = timed(Statement::ArchiveBest, best.fetch_optional(&mut *connection)).await?;
                let statuses = |active, failed, archived| {
                    BTreeMap::from([(Status::Active, active), (Status::Failed, failed), (Status::Archived, archived)])
                };
                let sum = |of: fn(&Row) -> i64| rows.iter().map(of).sum::<i64>();
                Ok(Stats {
                    service_name: service.map(str::to_owned),
                    total: sum(|r| r.1),
                    by_status: statuses(sum(|r| r.5), sum(|r| r.6), sum(|r| r.7)),
                    best_entry_id,
                    generations: rows
                        .iter()
                        .map(|r| Generation {
                            generation_number: r.0,
                            count: r.1,
                            by_status: statuses(r.5, r.6, r.7),
                            best_accuracy: r.2,
                            mean_accuracy: r.3,
                            best_compliance: r.4,
                        })
                        .collect(),
                })
            })
            .await
    }
}

pub(super) fn seen(row: &PgRow) -> Result<Seen, sqlx::Error> {
    Ok(Seen { entry: entry(row)?, as_of: row.try_get("as_of")? })
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    let ids: Option<Vec<String>> = row.try_get("inspiration_ids")?;
    let kinds: Option<Vec<InspirationKind>> = row.try_get("inspiration_kinds")?;
    Ok(Entry {
        id: row.try_get("id")?,
        summary: summary(row)?,
        solution_patch: row.try_get("solution_patch")?,
        evaluation_results: optional_json(row, "evaluation_results")?,
        inspirations: ids
            .unwrap_or_default()
            .into_iter()
            .zip(kinds.unwrap_or_default())
            .map(|(archive_entry_id, kind)| Inspiration { archive_entry_id, kind })
            .collect(),
        created_by: row.try_get("created_by")?,
    })
}
