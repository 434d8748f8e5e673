//! Entries as parent selection sees them: all of a service, and what changed since.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::ArchiveStore;
use crate::batch::Batch;
use crate::db::{Database, Error, timed, timed_rows};
use crate::domain::selection::{Candidate, Loader, Pool, Score};
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// One scan; children are counted here, not there: with stale statistics the planner joins the counts by nested loop,
/// which took a second at a thousand entries.
const FEATURES: &str = sql!(
    ArchiveCandidates,
    "
    SELECT a.archive_entry_id, a.parent_entry_id, a.accuracy_score::float8,
        ARRAY(SELECT CASE jsonb_typeof(a.performance_metrics -> f) WHEN 'number'
                     THEN (a.performance_metrics ->> f)::float8 END FROM unnest($2::text[]) WITH ORDINALITY AS u (f, n)
              ORDER BY n)
    FROM dgm_archive a WHERE a.service_name = $1 AND a.status = 'active'"
);

const ACTIVE: &str = sql!(
    ArchiveCandidates,
    "
    SELECT archive_entry_id, parent_entry_id, accuracy_score::float8
    FROM dgm_archive WHERE service_name = $1 AND status = 'active'"
);

/// In a transaction of one snapshot: the snapshot itself, and which feed its changes are told by.
const BEGIN: &str = sql!(
    ArchiveCandidates,
    "
    SELECT pg_current_snapshot()::text, epoch::text FROM dgm_archive_feed"
);

/// Entries that changed and were not visible to the snapshots, of several services at once: as they are now, without a score
/// those that are no candidates of their service any more. Each is looked up by its id (OFFSET 0 keeps the planner from
/// joining): what it knows of the table is a minute old, and a few changes beside a service of thousands made it read the
/// service.
const CHANGED: &str = sql!(
    ArchiveChanged,
    "
    SELECT asked.place, pg_current_snapshot()::text, f.epoch::text,
        f.pruned_before::text::bigint > pg_snapshot_xmin(asked.snapshot)::text::bigint, c.ids, c.parents, c.scores
    FROM dgm_archive_feed f
    CROSS JOIN (SELECT service, snapshot::pg_snapshot, place
                FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (service, snapshot, place)) asked
    CROSS JOIN LATERAL (
        SELECT array_agg(changed.id) AS ids, array_agg(a.parent_entry_id::text) AS parents,
            array_agg(a.accuracy_score::float8) AS scores
        FROM (
            SELECT DISTINCT archive_entry_id::text AS id FROM dgm_archive_changes
            WHERE service_name = asked.service AND transaction_id >= pg_snapshot_xmin(asked.snapshot)
              AND NOT pg_visible_in_snapshot(transaction_id, asked.snapshot)
        ) changed
        LEFT JOIN LATERAL (
            SELECT parent_entry_id, accuracy_score FROM dgm_archive
            WHERE archive_entry_id = changed.id AND service_name = asked.service AND status = 'active' OFFSET 0
        ) a ON true
    ) c"
);

/// Up to where a pool has followed the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    snapshot: String,
    epoch: String,
}

/// An entry that changed.
#[derive(Debug)]
pub struct Changed {
    /// Which one.
    pub archive_entry_id: String,
    /// Its parent.
    pub parent_entry_id: Option<String>,
    /// Its accuracy; absent when it is no candidate any more.
    pub score: Option<Score>,
}

impl ArchiveStore {
    /// The active entries of a service with the named figures as features; one that lacks a figure takes no part.
    ///
    /// # Errors
    /// The server's.
    pub async fn candidates(&self, service: &str, features: &[String]) -> Result<Vec<Candidate>, Error> {
        self.database
            .read_behind(|mut connection| async move {
                let query = sqlx::query_as::<_, (String, Option<String>, f64, Vec<Option<f64>>)>(FEATURES)
                    .bind(service)
                    .bind(features)
                    .fetch_all(&mut *connection);
                let rows = timed_rows(Statement::ArchiveCandidates, query).await?;
                let mut children: HashMap<&str, u32> = HashMap::new();
                for parent in rows.iter().filter_map(|(_, parent, ..)| parent.as_deref()) {
                    *children.entry(parent).or_default() += 1;
                }
                let candidate = |(id, _, score, features): &(String, _, f64, Vec<Option<f64>>)| {
                    Some(Candidate {
                        archive_entry_id: id.clone(),
                        score: Score::new(*score)?,
                        children: children.get(id.as_str()).copied().unwrap_or(0),
                        features: features.iter().copied().collect::<Option<_>>()?,
                    })
                };
                Ok(rows.iter().filter_map(candidate).collect())
            })
            .await
    }

    /// The active entries of a service, and from where on their changes are to be followed.
    ///
    /// # Errors
    /// The server's.
    pub async fn pool(&self, service: &str) -> Result<(Pool, Followed), Error> {
        let mut transaction = self.database.general.begin().await?;
        // As long as it takes: a million entries are a second or two.
        let begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0";
        sqlx::raw_sql(begin).execute(&mut *transaction).await?;
        let loaded = timed(Statement::ArchiveCandidates, load(&mut transaction, service)).await?;
        transaction.commit().await?;
        Ok(loaded)
    }
}

/// A request for the changes of a service.
#[derive(Debug)]
pub(super) struct Since {
    pub(super) service: String,
    pub(super) followed: Followed,
}

impl Batch for Since {
    const LABEL: Writer = Writer::Changes;
    const FULL: usize = 16;
    type Context = Database;
    type Reply = Option<(Vec<Changed>, Followed)>;

    async fn write(database: &Database, batch: &[Self], _: bool) -> Result<Vec<Result<Self::Reply, Error>>, Error> {
        type Columns = (Option<Vec<String>>, Option<Vec<Option<String>>>, Option<Vec<Option<f64>>>);
        let mut connection = database.writing.acquire().await?;
        let query = sqlx::query(CHANGED)
            .bind(batch.iter().map(|since| since.service.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|since| since.followed.snapshot.as_str()).collect::<Vec<_>>())
            .try_map(|row: PgRow| {
                let columns: Columns = (row.try_get("ids")?, row.try_get("parents")?, row.try_get("scores")?);
                Ok((row.try_get::<i64, _>(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, columns))
            })
            .fetch_all(&mut *connection);
        let rows: Vec<(_, String, String, bool, _)> = timed_rows(Statement::ArchiveChanged, query).await?;
        // One row for each, unless the feed itself is gone.
        let mut replies: Vec<_> = batch.iter().map(|_| Ok(None)).collect();
        for (place, snapshot, epoch, missed, (ids, parents, scores)) in rows {
            let at = usize::try_from(place - 1).unwrap_or(usize::MAX);
            let (Some(since), Some(reply)) = (batch.get(at), replies.get_mut(at)) else { continue };
            if missed || epoch != since.followed.epoch {
                continue;
            }
            let columns =
                ids.unwrap_or_default().into_iter().zip(parents.unwrap_or_default()).zip(scores.unwrap_or_default());
            let changed = columns.map(|((archive_entry_id, parent_entry_id), score)| Changed {
                archive_entry_id,
                parent_entry_id,
                score: score.and_then(Score::new),
            });
            *reply = Ok(Some((changed.collect(), Followed { snapshot, epoch })));
        }
        Ok(replies)
    }
}

async fn load(connection: &mut PgConnection, service: &str) -> Result<(Pool, Followed), sqlx::Error> {
    let (snapshot, epoch) = sqlx::query_as(BEGIN).fetch_one(&mut *connection).await?;
    let mut rows = sqlx::query_as::<_, (String, Option<String>, f64)>(ACTIVE).bind(service).fetch(connection);
    let mut loader = Loader::new();
    while let Some((id, parent, score)) = rows.try_next().await? {
        // The column's check admits no other scores.
        if let Some(score) = Score::new(score) {
            loader.put(&id, parent.as_deref(), score);
        }
    }
    Ok((loader.finish(), Followed { snapshot, epoch }))
}
