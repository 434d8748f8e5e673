//! Lists of entries: filters, orders, keyset pages.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder};

use super::{summary, summary_columns};
use crate::closed::wire;
use crate::domain::archive::{Status, Summary};
use crate::domain::page::Position;
use crate::domain::validation::Invalid;
use crate::store::error::Error;
use crate::store::pool::{Store, timed_rows};
use crate::telemetry::catalogue::statements::{Statement, sql};

wire! {
    /// An order; always the greatest first, equals the newest first, and then by id.
    #[derive(Default)]
    pub Sort "order" {
        /// By accuracy.
        Accuracy "accuracy",
        /// By constitutional compliance.
        Compliance "compliance",
        /// By time of creation.
        #[default]
        Created "created",
    }
}

impl Sort {
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Accuracy => &["a.accuracy_score", "a.created_at", "a.archive_entry_id"],
            Self::Compliance => &["a.constitutional_compliance_score", "a.created_at", "a.archive_entry_id"],
            Self::Created => &["a.created_at", "a.archive_entry_id"],
        }
    }

    /// The place that a cursor of this order names.
    ///
    /// # Errors
    /// [`Invalid`] when it is not one that this service made for this order.
    pub fn place(self, cursor: &str) -> Result<Position, Invalid> {
        let position = Position::decode(cursor, self.as_str())?;
        let whole = position.time.is_some() && position.score.is_some() == (self != Self::Created);
        if whole { Ok(position) } else { Err(Invalid::one("cursor", "is not a cursor of this list and order")) }
    }

    /// Where an item stands in this order.
    #[must_use]
    pub fn position(self, item: &Summary) -> Position {
        let score = match self {
            Self::Accuracy => Some(item.accuracy_score),
            Self::Compliance => Some(item.constitutional_compliance_score),
            Self::Created => None,
        };
        let (order, id) = (self.as_str().to_owned(), item.archive_entry_id.clone());
        Position { order, score, time: Some(item.created_at), id }
    }
}

/// Which entries; an absent field admits all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this service.
    pub service: Option<String>,
    /// With this status.
    pub status: Option<Status>,
    /// Of this generation.
    pub generation: Option<i32>,
    /// Made from this entry.
    pub parent: Option<String>,
    /// With at least this accuracy.
    pub min_accuracy: Option<f64>,
    /// With at most this accuracy.
    pub max_accuracy: Option<f64>,
    /// With at least this compliance.
    pub min_compliance: Option<f64>,
    /// Whose `performance_metrics` contain this (PostgreSQL's `@>`).
    pub contains: Option<Value>,
    /// Made at this time or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Made before this time.
    pub created_before: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether it admits all of a service.
    const fn is_by_service_alone(&self) -> bool {
        matches!(
            self,
            Self {
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
}

impl Store {
    /// One more than `limit` entries after `after`, so that the caller sees whether there is a next page.
    ///
    /// # Errors
    /// The server's.
    pub async fn list_entries(
        &self,
        filter: &Filter,
        sort: Sort,
        after: Option<&Position>,
        limit: u32,
    ) -> Result<Vec<Summary>, Error> {
        let mut query = build(filter, sort, after, limit);
        let mut connection = self.acquire_reading().await?;
        // Planning costs as much as the rest. But a plan for any values walks a whole index when few rows match: so all
        // but those that an index answers in its order, whatever the values, are planned for these very values.
        let prepared = filter.is_by_service_alone();
        let fetch = query.build().persistent(prepared).try_map(|row| summary(&row)).fetch_all(&mut *connection);
        timed_rows(Statement::ArchiveList, fetch).await
    }
}

fn build(filter: &Filter, sort: Sort, after: Option<&Position>, limit: u32) -> QueryBuilder<Postgres> {
    let limit = i64::from(limit) + 1;
    let mut query = QueryBuilder::new(sql!(ArchiveList, "SELECT ", summary_columns!(), " FROM "));
    if filter.service.is_some() && filter.status.is_none() && sort == Sort::Accuracy {
        // One index holds the active entries of a service in this order, another one the rest.
        for (before, status) in [("((SELECT a.* FROM ", "= 'active'"), (" UNION ALL (SELECT a.* FROM ", "<> 'active'")]
        {
            query.push(before);
            push_rows(&mut query, filter, Some(status), sort, after, limit);
            query.push(")");
        }
        query.push(") a");
        push_order(&mut query, sort, limit);
    } else {
        // A literal out of a closed set: only so does the planner see that a partial index serves.
        let status = filter.status.map(|status| format!("= '{status}'"));
        push_rows(&mut query, filter, status.as_deref(), sort, after, limit);
    }
    query
}

fn push_rows(
    query: &mut QueryBuilder<Postgres>,
    filter: &Filter,
    status: Option<&str>,
    sort: Sort,
    after: Option<&Position>,
    limit: i64,
) {
    query.push("dgm_archive a WHERE true");
    if let Some(status) = status {
        query.push(" AND a.status ").push(status);
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
        query.push(" AND (").push(sort.columns().join(", ")).push(") < (");
        if let Some(score) = position.score {
            query.push_bind(score).push("::float8::numeric, ");
        }
        query.push_bind(position.time).push(", ").push_bind(position.id.clone()).push(")");
    }
    push_order(query, sort, limit);
}

/// The limit is written out: of one that is yet to come the planner believes that it is a tenth of all rows.
fn push_order(query: &mut QueryBuilder<Postgres>, sort: Sort, limit: i64) {
    query.push(" ORDER BY ").push(sort.columns().join(" DESC, ")).push(" DESC LIMIT ").push(limit);
}
