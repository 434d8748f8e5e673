//! Creating and changing entries.

use std::collections::{HashMap, HashSet};

use chrono::DateTime;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::ArchiveStore;
use crate::db::{Error, retrying, timed, timed_rows};
use crate::domain::archive::{EntryPatch, NewEntry, Revision};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Rows a statement: enough to amortise the round trip, few enough for progress to be seen.
const BATCH: usize = 500;

/// Inserts entries from arrays, which [`bind_entries`] binds, unless they are there; a condition on `e` may follow. Those whose parent is not
/// there are left out, and an absent generation is the parent's plus one.
macro_rules! insert_from_arrays {
    ($condition:literal) => {
        concat!("
    INSERT INTO dgm_archive (archive_entry_id, parent_entry_id, generation_number, service_name, problem_statement,
        solution_patch, performance_metrics, accuracy_score, constitutional_compliance_score, evaluation_results,
        status, created_at, create_digest, created_by)
    SELECT e.id, e.parent, coalesce(e.generation, p.generation_number + (p.generation_number < 2147483647)::int, 0),
        e.service, e.problem, e.patch, e.metrics, e.accuracy, e.compliance, e.evaluation, e.status, coalesce(e.created_at, now()), e.digest, e.by
    FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::float8[],
        $9::float8[], $10::jsonb[], $11::text[], $12::timestamptz[], $13::bytea[], $14::uuid[])
        AS e (id, parent, generation, service, problem, patch, metrics, accuracy, compliance, evaluation, status,
              created_at, digest, by)
        LEFT JOIN dgm_archive p ON p.archive_entry_id = e.parent
    WHERE (e.parent IS NULL OR p.archive_entry_id IS NOT NULL)", $condition, "
    ORDER BY e.id COLLATE \"C\"
    ON CONFLICT (archive_entry_id) DO NOTHING RETURNING archive_entry_id")
    };
}
pub(in crate::store) use insert_from_arrays;

/// Binds rows as the first parameters of a statement, in an order in which two batches with the same ids never wait for each other.
macro_rules! bind_entries {
    ($query:expr, $rows:expr) => {{
        let mut rows: Vec<&$crate::store::archive::Row<'_>> = $rows;
        rows.sort_by_key(|row| row.entry.archive_entry_id.as_deref());
        let column = $crate::store::archive::Columns(&rows);
        $query
            .bind(column.of(|row| row.entry.archive_entry_id.as_deref()))
            .bind(column.of(|row| row.entry.parent_entry_id.as_deref()))
            .bind(column.of(|row| row.generation))
            .bind(column.of(|row| row.entry.service_name.as_str()))
            .bind(column.of(|row| row.entry.problem_statement.as_str()))
            .bind(column.of(|row| row.entry.solution_patch.as_deref()))
            .bind(column.of(|row| serde_json::Value::Object(row.entry.performance_metrics.clone())))
            .bind(column.of(|row| row.entry.accuracy_score))
            .bind(column.of(|row| row.entry.constitutional_compliance_score))
            .bind(column.of(|row| row.entry.evaluation_results.clone().map(serde_json::Value::Object)))
            .bind(column.of(|row| row.entry.status.as_str()))
            .bind(column.of(|row| row.entry.created_at))
            .bind(column.of(|row| row.digest.as_slice()))
            .bind(column.of(|row| row.by))
    }};
}
pub(in crate::store) use bind_entries;

/// The values of rows by column.
pub(in crate::store) struct Columns<'r, 'a>(pub(in crate::store) &'r [&'a Row<'a>]);

impl<'a> Columns<'_, 'a> {
    pub(in crate::store) fn of<T>(&self, value: impl Fn(&'a Row<'a>) -> T) -> Vec<T> {
        self.0.iter().map(|row| value(row)).collect()
    }
}

const INSERT: &str = sql!(
    ArchiveInsert,
    "
    INSERT INTO dgm_archive (archive_entry_id, parent_entry_id, generation_number, service_name, problem_statement,
        solution_patch, performance_metrics, accuracy_score, constitutional_compliance_score, evaluation_results,
        status, created_at, create_digest, created_by)
    SELECT e.id, e.parent, e.generation, e.service, e.problem, e.patch, e.metrics, e.accuracy, e.compliance,
        e.evaluation, e.status, coalesce(e.created_at, now()), e.digest, e.by
    FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::float8[],
        $9::float8[], $10::jsonb[], $11::text[], $12::timestamptz[], $13::bytea[], $14::uuid[])
        AS e (id, parent, generation, service, problem, patch, metrics, accuracy, compliance, evaluation, status,
              created_at, digest, by)
    ON CONFLICT (archive_entry_id) DO NOTHING
    RETURNING archive_entry_id"
);

const INSERT_KNOWN: &str = sql!(ArchiveInsert, insert_from_arrays!(""));

const INSERT_INSPIRATIONS: &str = sql!(
    ArchiveInspire,
    "
    INSERT INTO dgm_archive_inspirations (archive_entry_id, inspiration_entry_id, kind)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING"
);

pub(super) const DIGESTS: &str =
    sql!(ArchiveInsert, "SELECT archive_entry_id, create_digest FROM dgm_archive WHERE archive_entry_id = ANY($1)");

pub(super) const GENERATIONS: &str =
    sql!(ArchiveInsert, "SELECT archive_entry_id, generation_number FROM dgm_archive WHERE archive_entry_id = ANY($1)");

const PATCH: &str = sql!(
    ArchivePatch,
    "
    UPDATE dgm_archive SET
        status = coalesce($3, status),
        evaluation_results = coalesce($4, evaluation_results),
        performance_metrics = coalesce($5, performance_metrics),
        accuracy_score = coalesce($6, accuracy_score),
        constitutional_compliance_score = coalesce($7, constitutional_compliance_score)
    WHERE archive_entry_id = $1
      AND ($2::bigint[] IS NULL OR (version, updated_at) IN (SELECT * FROM unnest($2::bigint[], $8::timestamptz[])))
    RETURNING version, pg_current_xact_id()::text::bigint"
);

const VERSION: &str = sql!(ArchivePatch, "SELECT version FROM dgm_archive WHERE archive_entry_id = $1");

/// What became of one entry of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there already, from the same request.
    Same,
    /// Another entry has its id.
    Conflict,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patched {
    /// Done.
    Done {
        /// The version now.
        version: i64,
        /// The transaction that made it.
        transaction: i64,
    },
    /// The entry has another version than the caller thinks.
    VersionDiffers(i64),
    /// There is no such entry.
    Missing,
}

impl ArchiveStore {
    /// Creates entries, all or (on a conflict or an error) none; parents may stand in the same call, before their
    /// children. Every entry has its id set.
    ///
    /// # Errors
    /// [`Error::MissingReference`] for an unknown parent or inspiration.
    pub async fn create_all(&self, entries: &[NewEntry], by: Option<Uuid>) -> Result<Vec<Created>, Error> {
        retrying(|| async {
            let mut transaction = self.database.general.begin().await?;
            let created = insert_entries(&mut transaction, entries, by).await?;
            if created.contains(&Created::Conflict) {
                transaction.rollback().await?;
            } else {
                transaction.commit().await?;
            }
            Ok(created)
        })
        .await
    }

    /// Inserts the entries of an import in one transaction, all or none; answers how many were new. `progress` is told
    /// how many were handled so far.
    ///
    /// # Errors
    /// The server's; then nothing stays.
    pub async fn import(&self, entries: &[NewEntry], mut progress: impl FnMut(usize)) -> Result<usize, Error> {
        let mut transaction = self.database.general.begin().await?;
        let (mut new, mut handled) = (0, 0);
        for batch in rows(&mut transaction, entries, None).await?.chunks(BATCH) {
            new += insert_rows(&mut transaction, batch).await?.len();
            handled += batch.len();
            progress(handled);
        }
        // After all entries, since an inspiration may be younger than the entry that it inspired by another path.
        for batch in entries.chunks(BATCH) {
            insert_inspirations(&mut transaction, batch.iter()).await?;
        }
        transaction.commit().await?;
        Ok(new)
    }

    /// Changes an entry, when it still is in one of the states `known` (if given).
    ///
    /// # Errors
    /// The server's.
    pub async fn patch(&self, id: &str, known: Option<&[Revision]>, patch: &EntryPatch) -> Result<Patched, Error> {
        let versions = known.map(|known| known.iter().map(|of| of.version).collect::<Vec<_>>());
        let times =
            known.map(|known| known.iter().map(|of| DateTime::from_timestamp_micros(of.micros)).collect::<Vec<_>>());
        retrying(|| async {
            let mut connection = self.database.general.acquire().await?;
            let query = sqlx::query_as(PATCH)
                .bind(id)
                .bind(&versions)
                .bind(patch.status)
                .bind(patch.evaluation_results.clone().map(Value::Object))
                .bind(patch.performance_metrics.clone().map(Value::Object))
                .bind(patch.accuracy_score)
                .bind(patch.constitutional_compliance_score)
                .bind(&times)
                .fetch_optional(&mut *connection);
            let changed: Option<(i64, i64)> = timed(Statement::ArchivePatch, query).await?;
            if let Some((version, transaction)) = changed {
                return Ok(Patched::Done { version, transaction });
            }
            let query = sqlx::query_scalar(VERSION).bind(id).fetch_optional(&mut *connection);
            Ok(timed(Statement::ArchivePatch, query).await?.map_or(Patched::Missing, Patched::VersionDiffers))
        })
        .await
    }
}

/// Creates entries within a caller's transaction, telling for each what became of it.
async fn insert_entries(
    connection: &mut PgConnection,
    entries: &[NewEntry],
    by: Option<Uuid>,
) -> Result<Vec<Created>, Error> {
    let rows = rows(connection, entries, by).await?;
    let mut new = HashSet::new();
    for batch in rows.chunks(BATCH) {
        new.extend(insert_rows(connection, batch).await?);
    }
    let old: Vec<&str> = entries.iter().map(id_of).filter(|id| !new.contains(*id)).collect();
    let mut digests: HashMap<String, Option<Vec<u8>>> = HashMap::new();
    if !old.is_empty() {
        let query = sqlx::query_as::<_, (String, Option<Vec<u8>>)>(DIGESTS).bind(old).fetch_all(&mut *connection);
        digests.extend(timed_rows(Statement::ArchiveInsert, query).await?);
    }
    insert_inspirations(connection, entries.iter().filter(|entry| new.contains(id_of(entry)))).await?;
    let fate = |row: &Row<'_>| match digests.get(id_of(row.entry)) {
        None => Created::New,
        Some(Some(digest)) if *digest == row.digest => Created::Same,
        Some(_) => Created::Conflict,
    };
    Ok(rows.iter().map(fate).collect())
}

/// An entry with what is worked out for it.
pub(in crate::store) struct Row<'a> {
    pub(in crate::store) entry: &'a NewEntry,
    /// `None`: the statement finds it.
    pub(in crate::store) generation: Option<i32>,
    pub(in crate::store) digest: Vec<u8>,
    pub(in crate::store) by: Option<Uuid>,
}

pub(super) fn id_of(entry: &NewEntry) -> &str {
    entry.archive_entry_id.as_deref().unwrap_or_default()
}

/// Fills in absent generations: the parent's plus one, whether it stands earlier in the call or in the database. An
/// unknown parent is left to the foreign key.
async fn rows<'a>(
    connection: &mut PgConnection,
    entries: &'a [NewEntry],
    by: Option<Uuid>,
) -> Result<Vec<Row<'a>>, Error> {
    let asked: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.generation_number.is_none())
        .filter_map(|entry| entry.parent_entry_id.as_deref())
        .collect();
    let mut known: HashMap<String, i32> = HashMap::new();
    if !asked.is_empty() {
        let query = sqlx::query_as::<_, (String, i32)>(GENERATIONS).bind(asked).fetch_all(&mut *connection);
        known.extend(timed_rows(Statement::ArchiveInsert, query).await?);
    }
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let of_parent = || Some(known.get(entry.parent_entry_id.as_deref()?)?.saturating_add(1));
        let generation = entry.generation_number.or_else(of_parent).unwrap_or(0);
        known.insert(id_of(entry).to_owned(), generation);
        rows.push(Row { entry, generation: Some(generation), digest: entry.digest(), by });
    }
    Ok(rows)
}

/// Inserts those that are new and whose parent is there; answers their ids.
pub(super) async fn insert_known(connection: &mut PgConnection, batch: &[&Row<'_>]) -> Result<Vec<String>, Error> {
    let query = bind_entries!(sqlx::query_scalar(INSERT_KNOWN), batch.to_vec()).fetch_all(connection);
    timed_rows(Statement::ArchiveInsert, query).await
}

/// The ids of the entries that were new.
pub(super) async fn insert_rows(connection: &mut PgConnection, batch: &[Row<'_>]) -> Result<Vec<String>, Error> {
    let query = bind_entries!(sqlx::query_scalar(INSERT), batch.iter().collect()).fetch_all(connection);
    timed_rows(Statement::ArchiveInsert, query).await
}

pub(super) async fn insert_inspirations(
    connection: &mut PgConnection,
    entries: impl Iterator<Item = &NewEntry>,
) -> Result<(), Error> {
    let (mut of, mut other, mut kind) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        for inspiration in &entry.inspirations {
            of.push(id_of(entry));
            other.push(inspiration.archive_entry_id.as_str());
            kind.push(inspiration.kind.as_str());
        }
    }
    if of.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(INSERT_INSPIRATIONS).bind(of).bind(other).bind(kind).execute(connection);
    timed(Statement::ArchiveInspire, query).await.map(drop)
}
