//! Statements on archive entries.

mod access;
mod candidates;
mod create;
mod list;
mod read;
mod tree;
mod write;

pub(in crate::store) use candidates::Since;
pub use candidates::{Changed, Followed};
pub(in crate::store) use create::{NewRow, create};
pub use list::{Filter, Sort};
pub use read::{Seen, Stats};
pub use tree::Relative;
pub use write::{Created, Patched};

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::domain::archive::Summary;

/// The columns of a [`Summary`], in the order that [`summary`] reads them.
macro_rules! summary_columns {
    () => {
        "a.archive_entry_id, a.parent_entry_id, a.generation_number, a.service_name, a.problem_statement, \
         a.performance_metrics, a.accuracy_score::float8 AS accuracy_score, \
         a.constitutional_compliance_score::float8 AS constitutional_compliance_score, a.status, a.version, \
         a.created_at, a.updated_at"
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
        performance_metrics: row.try_get("performance_metrics")?,
        accuracy_score: row.try_get("accuracy_score")?,
        constitutional_compliance_score: row.try_get("constitutional_compliance_score")?,
        status: row.try_get("status")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
