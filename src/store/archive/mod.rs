//! Statements on archive entries.

mod access;
mod candidates;
mod create;
mod list;
mod read;
mod tree;
mod write;

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

pub use candidates::{Changed, Followed};
pub(in crate::store) use create::{NewRow, create, insertable};
pub use read::Seen;
pub(in crate::store) use write::{Columns, Row, bind_entries, insert_from_arrays};
pub use write::{Created, Patched};

use super::text::json;
use crate::batch::Writer;
use crate::db::{Database, Error};
use crate::domain::archive::{NewEntry, Summary};
use candidates::Since;

/// Archive entries; cheap to clone.
#[derive(Debug, Clone)]
pub struct ArchiveStore {
    database: Database,
    creates: Arc<Writer<NewRow>>,
    changes: Arc<Writer<Since>>,
}

impl ArchiveStore {
    pub(super) fn new(database: Database) -> Self {
        let (creates, changes) = (Writer::new(database.clone()), Writer::new(database.clone()));
        Self { database, creates: Arc::new(creates), changes: Arc::new(changes) }
    }

    /// Creates one entry, which has its id set; durable when this returns.
    ///
    /// # Errors
    /// [`Error::MissingReference`] for an unknown parent or inspiration, [`Error::Busy`].
    pub async fn create_one(&self, entry: NewEntry, by: Option<Uuid>) -> Result<Created, Error> {
        self.creates.submit(NewRow { entry, by }).await
    }

    /// The entries of a service that changed since a position of the change feed, and the position now; `None` when the
    /// changes since then are no longer known. Concurrent callers share one statement, which begins after the last of them.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn changed(&self, service: &str, since: &Followed) -> Result<Option<(Vec<Changed>, Followed)>, Error> {
        self.changes.submit(Since { service: service.to_owned(), followed: since.clone() }).await
    }

    /// Writes what is waiting and stops.
    pub(super) async fn close(&self) {
        self.creates.close().await;
        self.changes.close().await;
    }
}

/// A problem statement in lists. One of more than 1 MiB, which only SQL and earlier releases have stored, is cut there: read whole,
/// a few of them fill the memory. `octet_length` does not read the value.
macro_rules! listed_problem {
    ($column:literal) => {
        concat!(
            "CASE WHEN octet_length(",
            $column,
            ") > 1048576 THEN left(",
            $column,
            ", 262144) ELSE ",
            $column,
            " END AS problem_statement"
        )
    };
}
pub(in crate::store) use listed_problem;

/// The columns of a [`Summary`], as [`summary`] reads them; `listed` for lists.
macro_rules! summary_columns {
    () => {
        summary_columns!(@ "a.problem_statement")
    };
    (listed) => {
        summary_columns!(@ $crate::store::archive::listed_problem!("a.problem_statement"))
    };
    (@ $($problem:tt)*) => {
        concat!("a.archive_entry_id, a.parent_entry_id, a.generation_number, a.service_name, ", $($problem)*, ", \
         a.performance_metrics, a.accuracy_score::float8 AS accuracy_score, \
         a.constitutional_compliance_score::float8 AS constitutional_compliance_score, a.status, a.version, \
         a.created_at, a.updated_at")
    };
}
pub(super) use summary_columns;

pub(super) fn summary(row: &PgRow) -> Result<Summary, sqlx::Error> {
    Ok(Summary {
        archive_entry_id: row.try_get("archive_entry_id")?,
        parent_entry_id: row.try_get("parent_entry_id")?,
        generation_number: row.try_get("generation_number")?,
        service_name: row.try_get("service_name")?,
        problem_statement: row.try_get("problem_statement")?,
        performance_metrics: json(row, "performance_metrics")?,
        accuracy_score: row.try_get("accuracy_score")?,
        constitutional_compliance_score: row.try_get("constitutional_compliance_score")?,
        status: row.try_get("status")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
