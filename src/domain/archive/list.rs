//! Lists of entries: filters and orders.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Status, Summary};
use crate::closed::wire;
use crate::domain::page::Position;
use crate::domain::validation::Invalid;

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
    /// Checks the bounds: NaN and infinities would select everything or nothing.
    ///
    /// # Errors
    /// The first parameter at fault.
    pub fn validate(&self) -> Result<(), Invalid> {
        let bounds = [
            ("min_accuracy", self.min_accuracy),
            ("max_accuracy", self.max_accuracy),
            ("min_compliance", self.min_compliance),
        ];
        match bounds.iter().find(|(_, bound)| bound.is_some_and(|bound| !bound.is_finite())) {
            Some((name, _)) => Err(Invalid::one(*name, "is not a finite number: send one in 0..1")),
            None => Ok(()),
        }
    }
}
