//! Lists of entries: filters, orders, keyset pages.

use sqlx::{Postgres, QueryBuilder};

use super::{ArchiveStore, summary, summary_columns};
use crate::db::Error;
use crate::domain::archive::{Filter, Sort, Summary};
use crate::domain::page::{Position, Rows};
use crate::store::page::timed_page;
use crate::telemetry::catalogue::statements::{Statement, ranked, sql};

impl ArchiveStore {
    /// One more than `limit` entries after `after`, so that the caller sees whether there is a next page, or as many as fit into one.
    ///
    /// # Errors
    /// The server's.
    pub async fn list(
        &self,
        filter: &Filter,
        sort: Sort,
        after: Option<&Position>,
        limit: u32,
    ) -> Result<Rows<Summary>, Error> {
        // Planning costs as much as the rest. But a generic plan walks a whole index when few rows match. So only the lists
        // that an index answers in its order, whatever the values, are prepared; all others are planned for their values.
        let prepared = is_by_service_alone(filter);
        self.database
            .read_behind(|connection| async move {
                let mut query = build(filter, sort, after, limit);
                timed_page(Statement::ArchiveList, connection, query.build().persistent(prepared), summary).await
            })
            .await
    }
}

fn build(filter: &Filter, sort: Sort, after: Option<&Position>, limit: u32) -> QueryBuilder<Postgres> {
    let limit = i64::from(limit) + 1;
    let mut query = QueryBuilder::new(sql!(ArchiveList, "SELECT ", summary_columns!(listed), " FROM "));
    query.push("dgm_archive a WHERE true");
    match filter.status {
        // A literal out of a closed set: only so does the planner see that a partial index serves.
        Some(status) => {
            query.push(format!(" AND a.status = '{status}'"));
        }
        None if sort != Sort::Created => {
            query.push(concat!(" AND a.", ranked!()));
        }
        None => {}
    }
    if let Some(service) = &filter.service {
        query.push(" AND a.service_name = ").push_bind(service.clone());
    }
    if let Some(generation) = filter.generation {
        query.push(" AND a.generation_number = ").push_bind(generation);
    }
    if let Some(parent) = &filter.parent {
        query.push(" AND a.parent_entry_id = ").push_bind(parent.clone());
    }
    if let Some(least) = filter.min_accuracy {
        query.push(" AND a.accuracy_score >= ").push_bind(least).push("::float8::numeric");
    }
    if let Some(most) = filter.max_accuracy {
        query.push(" AND a.accuracy_score <= ").push_bind(most).push("::float8::numeric");
    }
    if let Some(least) = filter.min_compliance {
        query.push(" AND a.constitutional_compliance_score >= ").push_bind(least).push("::float8::numeric");
    }
    if let Some(contains) = &filter.contains {
        query.push(" AND a.performance_metrics @> ").push_bind(contains.clone());
    }
    if let Some(from) = filter.created_after {
        query.push(" AND a.created_at >= ").push_bind(from);
    }
    if let Some(to) = filter.created_before {
        query.push(" AND a.created_at < ").push_bind(to);
    }
    if let Some(position) = after {
        query.push(" AND (").push(columns(sort).join(", ")).push(") < (");
        if let Some(score) = position.score {
            query.push_bind(score).push("::float8::numeric, ");
        }
        query.push_bind(position.time).push(", ").push_bind(position.id.clone()).push(")");
    }
    // The limit is written out: of one that is yet to come the planner believes that it is a tenth of all rows.
    query.push(" ORDER BY ").push(columns(sort).join(" DESC, ")).push(" DESC LIMIT ").push(limit);
    query
}

/// The columns of an order.
const fn columns(sort: Sort) -> &'static [&'static str] {
    match sort {
        Sort::Accuracy => &["a.accuracy_score", "a.created_at", "a.archive_entry_id"],
        Sort::Compliance => &["a.constitutional_compliance_score", "a.created_at", "a.archive_entry_id"],
        Sort::Created => &["a.created_at", "a.archive_entry_id"],
    }
}

/// Whether a filter is for a service and nothing else.
const fn is_by_service_alone(filter: &Filter) -> bool {
    matches!(
        filter,
        Filter {
            service: Some(_),
            status: None,
            generation: None,
            parent: None,
            min_accuracy: None,
            max_accuracy: None,
            min_compliance: None,
            contains: None,
            created_after: None,
            created_before: None,
        }
    )
}
