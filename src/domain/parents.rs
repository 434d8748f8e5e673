//! Requests for parents to improve next, and their answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::selection::Rule;
use super::validation::{Check, Invalid};
use crate::closed::wire;

/// Maximum number of parents of one selection.
pub const MAX_PARENTS: u32 = 10_000;
wire! {
    /// How parents are drawn.
    #[derive(Default)]
    pub Method "method of selection" {
        /// The Darwin Gödel Machine's: sigmoid of the score, times 1/(1+children).
        #[default]
        ScoreChildProp "score_child_prop",
        /// The sigmoid alone.
        ScoreProp "score_prop",
        /// `ShinkaEvolve`'s: like the first, around the median in units of the median absolute deviation.
        Weighted "weighted",
        /// `ShinkaEvolve`'s: by rank; see `alpha`.
        PowerLaw "power_law",
        /// The best of `size` drawn uniformly.
        Tournament "tournament",
        /// MAP-Elites: uniform over the occupied cells of the named `features`, the best of the cell.
        MapElites "map_elites",
        /// Every entry alike.
        Uniform "uniform",
        /// The `n` best, without chance.
        Best "best",
    }
}

/// A request for parents.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectParents {
    /// Among the active entries of this service.
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub service_name: String,
    /// `score_child_prop` when absent.
    #[serde(default)]
    pub method: Method,
    /// How many; drawn with replacement (`best`: without).
    #[schema(minimum = 1, maximum = 10_000, default = 1)]
    pub n: Option<u32>,
    /// The same seed over the same archive gives the same parents; random when absent, and told in the answer.
    pub seed: Option<u64>,
    /// Steepness of `power_law`.
    #[schema(minimum = 0, maximum = 100, default = 1.0)]
    pub alpha: Option<f64>,
    /// Entries of a `tournament`.
    #[schema(minimum = 1, maximum = 1000, default = 3)]
    pub size: Option<u32>,
    /// Names of `performance_metrics` that span the cells of `map_elites`; entries that lack one do not take part.
    #[schema(max_items = 8)]
    pub features: Option<Vec<String>>,
    /// Cells along each feature of `map_elites`.
    #[schema(minimum = 1, maximum = 1000, default = 10)]
    pub bins: Option<u32>,
}

impl SelectParents {
    /// The selection rule; `None` for `map_elites`, which needs metrics that a pool does not hold.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        Some(match self.method {
            Method::ScoreChildProp => Rule::ScoreChildProp,
            Method::ScoreProp => Rule::ScoreProp,
            Method::Weighted => Rule::Weighted,
            Method::PowerLaw => Rule::PowerLaw { alpha: self.alpha.unwrap_or(1.0) },
            Method::Tournament => Rule::Tournament { size: self.size.unwrap_or(3) },
            Method::MapElites => return None,
            Method::Uniform => Rule::Uniform,
            Method::Best => Rule::Best,
        })
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Every validation error.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.name("service_name", &self.service_name);
        check.that((1..=MAX_PARENTS).contains(&self.n.unwrap_or(1)), "n", "must lie in 1..10000");
        check.that(self.alpha.is_none_or(|a| (0.0..=100.0).contains(&a)), "alpha", "must lie in 0..100");
        check.that(self.size.is_none_or(|s| (1..=1000).contains(&s)), "size", "must lie in 1..1000");
        check.that(self.bins.is_none_or(|b| (1..=1000).contains(&b)), "bins", "must lie in 1..1000");
        let features = self.features.as_deref().unwrap_or_default();
        for feature in features {
            check.id("features", feature);
        }
        check.that(features.len() <= 8, "features", "must have at most 8 items");
        let named = self.method != Method::MapElites || !features.is_empty();
        check.that(named, "features", "must name at least one figure for map_elites");
        check.done()
    }
}

/// The parents drawn, in the order of the draw.
#[derive(Debug, Serialize, ToSchema)]
pub struct Parents {
    /// The rule that was used.
    pub method: Method,
    /// The seed that was used.
    pub seed: u64,
    /// How many entries took part.
    pub candidates: usize,
    /// The draws.
    pub parents: Vec<Parent>,
}

/// A drawn parent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Parent {
    /// The entry.
    pub archive_entry_id: String,
    /// Its accuracy.
    pub accuracy_score: f64,
    /// Its active children.
    pub children: u32,
}
