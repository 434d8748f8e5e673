//! Lists of entries: filters, orders, keyset pages.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::{summary, summary_columns};
use crate::domain::archive::{Status, Summary};
use crate::domain::page::Position;
use crate::store::error::Error;
use crate::store::pool::{Store, timed};
use crate::telemetry::catalogue::statements::Statement;

/// An order; always the greatest first, equals by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By accuracy.
    Accuracy,
    /// By constitutional compliance.
    Compliance,
    /// By time of creation.
    #[default]
    Created,
}

impl Sort {
    /// The parameter's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Compliance => "compliance",
            Self::Created => "created",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Accuracy => "a.accuracy_score",
            Self::Compliance => "a.constitutional_compliance_score",
            Self::Created => "a.created_at",
        }
    }

    /// Where an item stands in this order.
    #[must_use]
    pub fn position(self, item: &Summary) -> Position {
        let (score, time) = match self {
            Self::Accuracy => (Some(item.accuracy_score), None),
            Self::Compliance => (Some(item.constitutional_compliance_score), None),
            Self::Created => (None, Some(item.created_at)),
        };
        Position { order: self.as_str().to_owned(), score, time, id: item.archive_entry_id.clone() }
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
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new(concat!("SELECT ", summary_columns!(), " FROM dgm_archive a WHERE true"));
        if let Some(service) = &filter.service {
            query.push(" AND a.service_name = ").push_bind(service);
        }
        if let Some(status) = filter.status {
            // A literal out of a closed set: only so does the planner see that the partial index serves.
            query.push(" AND a.status = '").push(status.as_str()).push("'");
        }
        if let Some(generation) = filter.generation {
            query.push(" AND a.generation_number = ").push_bind(generation);
        }
        if let Some(parent) = &filter.parent {
            query.push(" AND a.parent_entry_id = ").push_bind(parent);
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
            query.push(" AND a.performance_metrics @> ").push_bind(contains);
        }
        if let Some(from) = filter.created_after {
            query.push(" AND a.created_at >= ").push_bind(from);
        }
        if let Some(to) = filter.created_before {
            query.push(" AND a.created_at < ").push_bind(to);
        }
        if let Some(position) = after {
            query.push(" AND (").push(sort.column()).push(", a.archive_entry_id) < (");
            match (position.score, position.time) {
                (Some(score), _) => query.push_bind(score).push("::float8::numeric"),
                (None, time) => query.push_bind(time),
            };
            query.push(", ").push_bind(&position.id).push(")");
        }
        query.push(" ORDER BY ").push(sort.column()).push(" DESC, a.archive_entry_id DESC LIMIT ");
        query.push_bind(i64::from(limit) + 1);
        let mut connection = self.acquire().await?;
        let fetch = query.build().try_map(|row| summary(&row)).fetch_all(&mut *connection);
        timed(Statement::ArchiveList, fetch).await
    }
}
