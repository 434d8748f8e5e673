//! Giving contents to entries.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{ArtifactStore, Hold, artifact};
use crate::db::{Error, from_row, timed};
use crate::domain::artifact::{Artifact, Digest};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// First key of the advisory locks of entries whose artifacts change; the second one is the hash of the entry's id.
const LOCKS: i32 = 0x6467_6d61;

/// Only one transaction at a time changes the artifacts of an entry. Not by a lock of the entry's row, for which a PATCH would wait
/// until bytes have been moved; the row's weakest lock only keeps the entry from being removed.
const LOCK: &str = sql!(
    ArtifactPut,
    "SELECT pg_advisory_xact_lock($2, hashtext(archive_entry_id)) FROM dgm_archive WHERE archive_entry_id = $1 FOR KEY SHARE"
);
const USAGE: &str = sql!(
    ArtifactPut,
    "SELECT a.service_name::text AS service, u.* FROM dgm_archive a CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE r.name <> $2) AS others,
            coalesce(sum(c.size_bytes) FILTER (WHERE r.name <> $2), 0)::bigint AS other_bytes,
            coalesce(sum(c.size_bytes) FILTER (WHERE r.name = $2), 0)::bigint AS replaced_bytes,
            (array_agg(r.digest) FILTER (WHERE r.name = $2))[1] AS replaced
        FROM dgm_archive_artifacts r JOIN dgm_artifacts c USING (digest) WHERE r.archive_entry_id = a.archive_entry_id) u
     WHERE a.archive_entry_id = $1"
);
const OF_SERVICE: &str = sql!(
    ArtifactPut,
    "SELECT coalesce(sum(c.size_bytes), 0)::bigint FROM dgm_archive a
     JOIN dgm_archive_artifacts r USING (archive_entry_id) JOIN dgm_artifacts c USING (digest) WHERE a.service_name = $1"
);
const HOLD_REPLACED: &str = sql!(ArtifactPut, "SELECT FROM dgm_artifacts WHERE digest = $1 FOR UPDATE");
/// The update changes nothing; it locks the row that is there already.
const HOLD: &str = sql!(
    ArtifactPut,
    "INSERT INTO dgm_artifacts AS old (digest, size_bytes) VALUES ($1, $2)
     ON CONFLICT (digest) DO UPDATE SET size_bytes = old.size_bytes"
);
const ATTACH: &str = sql!(
    ArtifactPut,
    "INSERT INTO dgm_archive_artifacts AS old (archive_entry_id, name, digest, media_type, created_by)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (archive_entry_id, name) DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type,
        created_at = CASE WHEN old.digest = excluded.digest THEN old.created_at ELSE now() END,
        created_by = CASE WHEN old.digest = excluded.digest THEN old.created_by ELSE excluded.created_by END
     RETURNING xmax = 0 AS new, name, digest, media_type, created_at, created_by,
        (SELECT a.size_bytes FROM dgm_artifacts a WHERE a.digest = old.digest) AS size_bytes"
);

/// A file on its way to an entry.
#[derive(Debug)]
pub struct Attachment<'a> {
    /// The entry.
    pub entry: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// What it is.
    pub media_type: &'a str,
    /// Who brings it.
    pub by: Option<Uuid>,
}

/// What an entry has before an upload of a name.
#[derive(Debug)]
pub struct Usage {
    /// The entry's service.
    pub service: String,
    /// Artifacts of other names.
    pub others: i64,
    /// Their bytes.
    pub other_bytes: i64,
    /// Bytes of the artifact that has the name.
    pub replaced_bytes: i64,
    replaced: Option<Vec<u8>>,
}

from_row!(Usage { service, others, other_bytes, replaced_bytes, replaced });

impl ArtifactStore {
    /// What an entry has before an upload of this name; `None` when there is no such entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn usage(&self, entry: &str, name: &str) -> Result<Option<Usage>, Error> {
        self.database.general.read(|mut connection| async move { usage(&mut connection, entry, name).await }).await
    }

    /// The bytes of all artifacts of a service. Contents count once for each artifact that has them.
    ///
    /// # Errors
    /// The server's.
    pub async fn bytes_of_service(&self, service: &str) -> Result<i64, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query_scalar(OF_SERVICE).bind(service).fetch_one(&mut *connection);
                timed(Statement::ArtifactPut, query).await
            })
            .await
    }

    /// Holds a name of an entry, the row of the digest whose bytes are about to be stored under it, and the row of the one that it
    /// replaces; with what the entry has. `None` when there is no such entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn hold(
        &self,
        entry: &str,
        name: &str,
        digest: Digest,
        size_bytes: i64,
    ) -> Result<Option<(Hold, Usage)>, Error> {
        let mut transaction = self.database.general.begin().await?;
        lock(&mut transaction, entry).await?;
        let Some(usage) = usage(&mut transaction, entry, name).await? else { return Ok(None) };
        let new = digest.0.as_slice();
        let replaced = usage.replaced.as_deref().filter(|replaced| *replaced != new);
        let mut contents: Vec<&[u8]> = std::iter::once(new).chain(replaced).collect();
        contents.sort_unstable();
        for content in contents {
            let query = if content == new {
                sqlx::query(HOLD).bind(content).bind(size_bytes)
            } else {
                sqlx::query(HOLD_REPLACED).bind(content)
            };
            timed(Statement::ArtifactPut, query.execute(&mut *transaction)).await?;
        }
        Ok(Some((Hold { transaction }, usage)))
    }
}

impl Hold {
    /// Gives the artifact to an entry; durable when this answers, with what the entry has now. `true`: it had none of this name.
    ///
    /// # Errors
    /// [`Error::MissingReference`] when there is no such entry.
    pub async fn attach(mut self, digest: Digest, to: &Attachment<'_>) -> Result<(bool, Artifact), Error> {
        let query = sqlx::query(ATTACH)
            .bind(to.entry)
            .bind(to.name)
            .bind(digest.0.as_slice())
            .bind(to.media_type)
            .bind(to.by)
            .try_map(|row: PgRow| Ok((row.try_get("new")?, artifact(&row)?)))
            .fetch_one(&mut *self.transaction);
        let attached = timed(Statement::ArtifactPut, query).await?;
        self.finish().await?;
        Ok(attached)
    }
}

/// Locks the artifacts of an entry until the end of the transaction. Without such an entry it locks nothing.
pub(super) async fn lock(connection: &mut PgConnection, entry: &str) -> Result<(), Error> {
    let query = sqlx::query(LOCK).bind(entry).bind(LOCKS).execute(connection);
    timed(Statement::ArtifactPut, query).await.map(|_| ())
}

async fn usage(connection: &mut PgConnection, entry: &str, name: &str) -> Result<Option<Usage>, Error> {
    let query = sqlx::query_as(USAGE).bind(entry).bind(name).fetch_optional(connection);
    timed(Statement::ArtifactPut, query).await
}
