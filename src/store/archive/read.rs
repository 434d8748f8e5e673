//! Single entries, candidates for parent selection, statistics and export.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sqlx::{Acquire as _, Row as _};
use utoipa::ToSchema;

use super::{summary, summary_columns};
use crate::domain::archive::{Entry, Inspiration, InspirationKind};
use crate::domain::selection::Candidate;
use crate::store::error::Error;
use crate::store::pool::{Store, timed};
use crate::telemetry::catalogue::statements::Statement;

/// An entry with its inspirations as two parallel arrays, so that one round trip answers all.
macro_rules! select_entry {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, ",
            summary_columns!(),
            ", a.solution_patch, a.evaluation_results, a.created_by, i.ids AS inspiration_ids, i.kinds AS inspiration_kinds
             FROM dgm_archive a CROSS JOIN LATERAL (
                 SELECT array_agg(inspiration_entry_id::text ORDER BY inspiration_entry_id, kind) AS ids,
                        array_agg(kind::text ORDER BY inspiration_entry_id, kind) AS kinds
                 FROM dgm_archive_inspirations WHERE archive_entry_id = a.archive_entry_id) i ",
            $rest
        )
    };
}

const GET: &str = select_entry!("WHERE a.archive_entry_id = $1");

/// Level by level from the roots (entries without a parent in the service), so that parents come before children: the
/// generation would not do, since a peer's migrants share it with their parents.
const EXPORT: &str = concat!(
    "WITH RECURSIVE walk (archive_entry_id, depth) AS (
        SELECT r.archive_entry_id, 0 FROM dgm_archive r
        LEFT JOIN dgm_archive p ON p.archive_entry_id = r.parent_entry_id AND p.service_name = r.service_name
        WHERE r.service_name = $1 AND p.archive_entry_id IS NULL
        UNION ALL
        SELECT c.archive_entry_id, w.depth + 1
        FROM walk w JOIN dgm_archive c ON c.parent_entry_id = w.archive_entry_id WHERE c.service_name = $1
    ) ",
    select_entry!("JOIN walk w USING (archive_entry_id) ORDER BY w.depth, a.generation_number, a.archive_entry_id")
);

/// One scan; children are counted here, not there: with stale statistics the planner joins the counts by nested loop,
/// which took a second at a thousand entries.
const CANDIDATES: &str = "
    SELECT a.archive_entry_id, a.parent_entry_id, a.accuracy_score::float8,
        ARRAY(SELECT CASE jsonb_typeof(a.performance_metrics -> f) WHEN 'number'
                     THEN (a.performance_metrics ->> f)::float8 END FROM unnest($2::text[]) WITH ORDINALITY AS u (f, n)
              ORDER BY n)
    FROM dgm_archive a WHERE a.service_name = $1 AND a.status = 'active'";

const STATS: &str = "
    SELECT generation_number, count(*), max(accuracy_score)::float8, avg(accuracy_score)::float8,
        max(constitutional_compliance_score)::float8,
        count(*) FILTER (WHERE status = 'active'), count(*) FILTER (WHERE status = 'failed'),
        count(*) FILTER (WHERE status = 'archived')
    FROM dgm_archive WHERE $1::text IS NULL OR service_name = $1
    GROUP BY generation_number ORDER BY generation_number";

const BEST: &str = "
    SELECT archive_entry_id FROM dgm_archive
    WHERE status = 'active' AND ($1::text IS NULL OR service_name = $1)
    ORDER BY accuracy_score DESC, created_at, archive_entry_id LIMIT 1";

/// A generation in figures.
#[allow(clippy::struct_field_names, reason = "the wire's name is the column's")]
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Generation {
    /// Its number.
    pub generation_number: i32,
    /// Entries of every status.
    pub count: i64,
    /// Best accuracy.
    pub best_accuracy: f64,
    /// Mean accuracy.
    pub mean_accuracy: f64,
    /// Best compliance.
    pub best_compliance: f64,
}

/// The archive in figures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Stats {
    /// The service, when one was asked for.
    pub service_name: Option<String>,
    /// Entries of every status.
    pub total: i64,
    /// Entries by status.
    pub by_status: BTreeMap<&'static str, i64>,
    /// The active entry with the best accuracy (the older one of equals).
    pub best_entry_id: Option<String>,
    /// By generation, rising.
    pub generations: Vec<Generation>,
}

impl Store {
    /// One entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn entry(&self, id: &str) -> Result<Option<Entry>, Error> {
        let mut connection = self.acquire().await?;
        let query =
            async { sqlx::query(GET).bind(id).try_map(|row| entry(&row)).fetch_optional(&mut *connection).await };
        timed(Statement::ArchiveGet, query).await
    }

    /// Which of these ids are in the archive.
    ///
    /// # Errors
    /// The server's.
    pub async fn existing_entries(&self, ids: &[String]) -> Result<Vec<String>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query_scalar("SELECT archive_entry_id FROM dgm_archive WHERE archive_entry_id = ANY($1)")
            .bind(ids)
            .fetch_all(&mut *connection);
        timed(Statement::ArchiveGet, query).await
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
        let mut connection = self.acquire().await?;
        let mut transaction = connection.begin().await?;
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

    /// The active entries of a service as parent selection sees them, with the named figures as features.
    ///
    /// # Errors
    /// The server's.
    pub async fn candidates(&self, service: &str, features: &[String]) -> Result<Vec<Candidate>, Error> {
        let mut connection = self.acquire().await?;
        let query = sqlx::query_as::<_, (String, Option<String>, f64, Vec<Option<f64>>)>(CANDIDATES)
            .bind(service)
            .bind(features)
            .fetch_all(&mut *connection);
        let rows = timed(Statement::ArchiveCandidates, query).await?;
        let mut children: HashMap<&str, u32> = HashMap::new();
        for parent in rows.iter().filter_map(|(_, parent, ..)| parent.as_deref()) {
            *children.entry(parent).or_default() += 1;
        }
        let candidate = |(id, _, score, features): &(String, _, f64, Vec<Option<f64>>)| {
            Some(Candidate {
                archive_entry_id: id.clone(),
                score: *score,
                children: children.get(id.as_str()).copied().unwrap_or(0),
                // One that lacks a feature takes no part.
                features: features.iter().copied().collect::<Option<_>>()?,
            })
        };
        Ok(rows.iter().filter_map(candidate).collect())
    }

    /// The archive (or one service of it) in figures.
    ///
    /// # Errors
    /// The server's.
    pub async fn stats(&self, service: Option<&str>) -> Result<Stats, Error> {
        type Row = (i32, i64, f64, f64, f64, i64, i64, i64);
        let mut connection = self.acquire().await?;
        let query = sqlx::query_as::<_, Row>(STATS).bind(service).fetch_all(&mut *connection);
        let rows = timed(Statement::ArchiveStats, query).await?;
        let query = sqlx::query_scalar(BEST).bind(service).fetch_optional(&mut *connection);
        let best_entry_id = timed(Statement::ArchiveStats, query).await?;
        let sum = |of: fn(&Row) -> i64| rows.iter().map(of).sum::<i64>();
        Ok(Stats {
            service_name: service.map(str::to_owned),
            total: sum(|r| r.1),
            by_status: [("active", sum(|r| r.5)), ("failed", sum(|r| r.6)), ("archived", sum(|r| r.7))].into(),
            best_entry_id,
            generations: rows
                .iter()
                .map(|r| Generation {
                    generation_number: r.0,
                    count: r.1,
                    best_accuracy: r.2,
                    mean_accuracy: r.3,
                    best_compliance: r.4,
                })
                .collect(),
        })
    }
}

fn entry(row: &sqlx::postgres::PgRow) -> Result<Entry, sqlx::Error> {
    let ids: Option<Vec<String>> = row.try_get("inspiration_ids")?;
    let kinds: Option<Vec<String>> = row.try_get("inspiration_kinds")?;
    let kind = |word: &str| match word {
        "parent" => InspirationKind::Parent,
        "archive" => InspirationKind::Archive,
        "top_k" => InspirationKind::TopK,
        _ => InspirationKind::Inspiration,
    };
    Ok(Entry {
        id: row.try_get("id")?,
        summary: summary(row)?,
        solution_patch: row.try_get("solution_patch")?,
        evaluation_results: row.try_get("evaluation_results")?,
        inspirations: ids
            .unwrap_or_default()
            .into_iter()
            .zip(kinds.unwrap_or_default())
            .map(|(archive_entry_id, word)| Inspiration { archive_entry_id, kind: kind(&word) })
            .collect(),
        created_by: row.try_get("created_by")?,
    })
}
