//! Statements on artifacts and their owners. Their bytes are in a bucket.
//!
//! A writer or remover of bytes holds the row of their digest meanwhile, so that bytes are not collected while they are
//! uploaded again, and not uploaded again while they are collected.
//!
//! Every transaction takes its locks in one order, so that none deadlocks with another: the entry ([`attach`]), then contents by
//! ascending digest, then references of the entry. The trigger on references locks contents that are locked already.

mod attach;

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};

pub use attach::{Attachment, Usage};

use crate::db::{Database, Error, retrying, timed, timed_rows};
use crate::domain::artifact::{Artifact, Digest};
use crate::telemetry::catalogue::statements::{Statement, sql};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.name, r.digest, a.size_bytes, r.media_type, r.created_at, r.created_by
             FROM dgm_archive_artifacts r JOIN dgm_artifacts a USING (digest) WHERE r.archive_entry_id = $1",
            $rest
        )
    };
}
const GET: &str = sql!(ArtifactGet, select!(" AND r.name = $2"));
const LIST: &str = sql!(ArtifactGet, select!(" ORDER BY r.name"));
const DETACH: &str =
    sql!(ArtifactDelete, "DELETE FROM dgm_archive_artifacts WHERE archive_entry_id = $1 AND name = $2");
const UNREFERENCED: &str = sql!(
    ArtifactCollect,
    "SELECT digest FROM dgm_artifacts WHERE unreferenced_since < now() - make_interval(secs => $1)
     ORDER BY unreferenced_since LIMIT $2"
);
const RELEASE: &str = sql!(
    ArtifactCollect,
    "DELETE FROM dgm_artifacts a WHERE a.digest = $1 AND a.unreferenced_since < now() - make_interval(secs => $2)
        AND NOT EXISTS (SELECT FROM dgm_archive_artifacts r WHERE r.digest = a.digest)"
);
const KNOWN: &str = sql!(ArtifactCollect, "SELECT digest FROM dgm_artifacts WHERE digest = ANY($1)");
const RESERVE: &str = sql!(
    ArtifactCollect,
    "INSERT INTO dgm_artifacts (digest, size_bytes) VALUES ($1, 0) ON CONFLICT (digest) DO NOTHING"
);

const AFTER: &str = sql!(
    ArtifactVerify,
    "SELECT digest, size_bytes, unreferenced_since IS NULL AS needed FROM dgm_artifacts WHERE digest > $1 ORDER BY digest LIMIT $2"
);
const OWNERS: &str = sql!(
    ArtifactVerify,
    "SELECT archive_entry_id, name FROM dgm_archive_artifacts WHERE digest = $1 ORDER BY archive_entry_id, name"
);

/// The row of a digest, held until this is finished or dropped; dropped, nothing has changed.
#[derive(Debug)]
pub struct Hold {
    transaction: Transaction<'static, Postgres>,
}

/// An artifact that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub digest: Digest,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// Whether an entry has it; else it is to be collected.
    pub needed: bool,
}

impl Hold {
    /// Makes the change durable.
    ///
    /// # Errors
    /// The server's.
    pub async fn finish(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }
}

/// Artifacts and their owners; cheap to clone.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    database: Database,
}

impl ArtifactStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// An artifact of an entry.
    ///
    /// # Errors
    /// The server's.
    pub async fn find(&self, entry: &str, name: &str) -> Result<Option<Artifact>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(GET)
                    .bind(entry)
                    .bind(name)
                    .try_map(|row| artifact(&row))
                    .fetch_optional(&mut *connection);
                timed(Statement::ArtifactGet, query).await
            })
            .await
    }

    /// The artifacts of an entry, by name.
    ///
    /// # Errors
    /// The server's.
    pub async fn list(&self, entry: &str) -> Result<Vec<Artifact>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(LIST).bind(entry).try_map(|row| artifact(&row)).fetch_all(&mut *connection);
                timed_rows(Statement::ArtifactGet, query).await
            })
            .await
    }

    /// Takes an artifact from an entry; `false` when it had none of this name.
    ///
    /// # Errors
    /// The server's.
    pub async fn detach(&self, entry: &str, name: &str) -> Result<bool, Error> {
        retrying(|| async {
            let mut transaction = self.database.general.begin().await?;
            attach::lock(&mut transaction, entry).await?;
            let query = sqlx::query(DETACH).bind(entry).bind(name).execute(&mut *transaction);
            let detached = timed(Statement::ArtifactDelete, query).await?.rows_affected() > 0;
            transaction.commit().await?;
            Ok(detached)
        })
        .await
    }

    /// Artifacts that no entry has had for this long, at most `most` of them, the longest first.
    ///
    /// # Errors
    /// The server's.
    pub async fn unreferenced(&self, grace: Duration, most: usize) -> Result<Vec<Digest>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(UNREFERENCED)
            .bind(grace.as_secs_f64())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .try_map(|row| digest(&row))
            .fetch_all(&mut *connection);
        timed_rows(Statement::ArtifactCollect, query).await
    }

    /// Removes the row of an artifact that no entry has, when the answer is finished; `None` when one has it again.
    ///
    /// # Errors
    /// The server's.
    pub async fn release(&self, digest: Digest, grace: Duration) -> Result<Option<Hold>, Error> {
        let mut transaction = self.database.general.begin().await?;
        let query = sqlx::query(RELEASE).bind(digest.0.as_slice()).bind(grace.as_secs_f64()).execute(&mut *transaction);
        let released = timed(Statement::ArtifactCollect, query).await?.rows_affected() > 0;
        Ok(released.then_some(Hold { transaction }))
    }

    /// Which of these have a row.
    ///
    /// # Errors
    /// The server's.
    pub async fn known(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(KNOWN)
            .bind(digests.iter().map(|digest| digest.0.as_slice()).collect::<Vec<_>>())
            .try_map(|row| digest(&row))
            .fetch_all(&mut *connection);
        timed_rows(Statement::ArtifactCollect, query).await
    }

    /// Artifacts by their digests after that one, at most `most` of them.
    ///
    /// # Errors
    /// The server's.
    pub async fn after(&self, after: Option<Digest>, most: usize) -> Result<Vec<Kept>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(AFTER)
            .bind(after.map_or_else(Vec::new, |Digest(bytes)| bytes.to_vec()))
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .try_map(|row: PgRow| {
                let size_bytes = row.try_get::<i64, _>("size_bytes")?.unsigned_abs();
                Ok(Kept { digest: digest(&row)?, size_bytes, needed: row.try_get("needed")? })
            })
            .fetch_all(&mut *connection);
        timed_rows(Statement::ArtifactVerify, query).await
    }

    /// The entries that have an artifact, and their names for it.
    ///
    /// # Errors
    /// The server's.
    pub async fn owners(&self, digest: Digest) -> Result<Vec<(String, String)>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query_as(OWNERS).bind(digest.0.as_slice()).fetch_all(&mut *connection);
        timed_rows(Statement::ArtifactVerify, query).await
    }

    /// Holds a digest that has no row, to be dropped again; `None` when it has one by now.
    ///
    /// # Errors
    /// The server's.
    pub async fn reserve(&self, digest: Digest) -> Result<Option<Hold>, Error> {
        let mut transaction = self.database.general.begin().await?;
        let query = sqlx::query(RESERVE).bind(digest.0.as_slice()).execute(&mut *transaction);
        let reserved = timed(Statement::ArtifactCollect, query).await?.rows_affected() > 0;
        Ok(reserved.then_some(Hold { transaction }))
    }
}

fn digest(row: &PgRow) -> Result<Digest, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get("digest")?;
    bytes.try_into().map(Digest).map_err(|_| sqlx::Error::Decode("a digest has 32 bytes".into()))
}

fn artifact(row: &PgRow) -> Result<Artifact, sqlx::Error> {
    Ok(Artifact {
        name: row.try_get("name")?,
        digest: digest(row)?,
        size_bytes: row.try_get("size_bytes")?,
        media_type: row.try_get("media_type")?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
    })
}
