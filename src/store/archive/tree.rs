//! Ancestors and descendants.

use sqlx::Row as _;

use super::{ArchiveStore, summary, summary_columns};
use crate::db::Error;
use crate::domain::archive::Relative;
use crate::domain::page::Rows;
use crate::store::page::timed_page;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// The walk carries ids only; the rows are joined at the end, once each. UNION ends it on a cycle, which hand-made SQL can
/// make (the API cannot: a parent exists before its child and never changes), and so the walk must not carry the depth.
const LINEAGE: &str = sql!(
    ArchiveLineage,
    "WITH RECURSIVE walk (archive_entry_id, parent_entry_id) AS (
        SELECT archive_entry_id, parent_entry_id FROM dgm_archive WHERE archive_entry_id = $1
        UNION
        SELECT p.archive_entry_id, p.parent_entry_id
        FROM walk w JOIN dgm_archive p ON p.archive_entry_id = w.parent_entry_id
    ), near AS (
        SELECT archive_entry_id, (row_number() OVER () - 1)::int AS depth
        FROM (SELECT * FROM walk LIMIT $2::bigint + 1) w
    ) SELECT w.depth, ",
    summary_columns!(listed),
    " FROM near w JOIN dgm_archive a USING (archive_entry_id) ORDER BY w.depth"
);

/// Breadth first; LIMIT on the walk itself keeps a wide tree from being walked whole.
const DESCENDANTS: &str = sql!(
    ArchiveDescendants,
    "WITH RECURSIVE walk (archive_entry_id, depth) AS (
        SELECT archive_entry_id, 0 FROM dgm_archive WHERE archive_entry_id = $1
        UNION ALL
        SELECT c.archive_entry_id, w.depth + 1
        FROM walk w JOIN dgm_archive c ON c.parent_entry_id = w.archive_entry_id WHERE w.depth < $2
    ), nearest AS (SELECT * FROM walk LIMIT $3)
    SELECT w.depth, ",
    summary_columns!(listed),
    " FROM nearest w JOIN dgm_archive a USING (archive_entry_id) ORDER BY w.depth, a.archive_entry_id"
);

impl ArchiveStore {
    /// The entry and its ancestors, nearest first; empty when there is no such entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn lineage(&self, id: &str, max_depth: i32) -> Result<Rows<Relative>, Error> {
        self.database
            .read_behind(|connection| async move {
                let query = sqlx::query(LINEAGE).bind(id).bind(i64::from(max_depth));
                timed_page(Statement::ArchiveLineage, connection, query, relative).await
            })
            .await
    }

    /// The entry and at most `limit` of its descendants, nearest first; empty when there is no such entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn descendants(&self, id: &str, max_depth: i32, limit: i64) -> Result<Rows<Relative>, Error> {
        self.database
            .read_behind(|connection| async move {
                let query = sqlx::query(DESCENDANTS).bind(id).bind(max_depth).bind(limit);
                timed_page(Statement::ArchiveDescendants, connection, query, relative).await
            })
            .await
    }
}

fn relative(row: &sqlx::postgres::PgRow) -> Result<Relative, sqlx::Error> {
    Ok(Relative { depth: row.try_get("depth")?, entry: summary(row)? })
}
