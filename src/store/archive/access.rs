//! How often entries are read, and what is likely to be read next.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::ArchiveStore;
use super::read::{NEIGHBOURS, Seen, seen};
use crate::db::{Error, timed, timed_rows};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// In the order of ids, so that two replicas do not wait for each other. An entry that was deleted by hand is left out.
const COUNT: &str = sql!(
    AccessCount,
    "
    INSERT INTO dgm_archive_access AS old (archive_entry_id, access_count)
    SELECT read.id, read.count FROM unnest($1::text[], $2::bigint[]) AS read (id, count)
    JOIN dgm_archive a ON a.archive_entry_id = read.id ORDER BY read.id
    ON CONFLICT (archive_entry_id) DO UPDATE
    SET access_count = old.access_count + excluded.access_count, last_accessed_at = now()"
);

const MOST_READ: &str =
    sql!(AccessMost, "SELECT archive_entry_id FROM dgm_archive_access ORDER BY access_count DESC LIMIT $1");

impl ArchiveStore {
    /// Adds to the counts of reads.
    ///
    /// # Errors
    /// The server's.
    pub async fn count_reads(&self, reads: &[(String, u64)]) -> Result<(), Error> {
        let mut connection = self.database.writing.acquire().await?;
        let ids: Vec<&str> = reads.iter().map(|(id, _)| id.as_str()).collect();
        let counts: Vec<i64> = reads.iter().map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX)).collect();
        let query = sqlx::query(COUNT).bind(ids).bind(counts).execute(&mut *connection);
        timed(Statement::AccessCount, query).await.map(drop)
    }

    /// The entries that were read most often, at most `limit`.
    ///
    /// # Errors
    /// The server's.
    pub async fn most_read(&self, limit: i64) -> Result<Vec<String>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(MOST_READ).bind(limit).try_map(|row: PgRow| row.try_get(0)).fetch_all(&mut *connection);
        timed_rows(Statement::AccessMost, query).await
    }

    /// The entries of these ids and the best children of those.
    ///
    /// # Errors
    /// The server's.
    pub async fn neighbours(&self, ids: &[String], parents: &[String]) -> Result<Vec<Seen>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query =
            sqlx::query(NEIGHBOURS).bind(ids).bind(parents).try_map(|row| seen(&row)).fetch_all(&mut *connection);
        timed_rows(Statement::ArchiveNeighbours, query).await
    }
}
