//! Which entries are improved next.
//!
//! The active entries of a service are kept in memory in a form that draws at once, and follow the database by the same
//! record of changes as the cache does: every selection first takes in what changed since the last one. So it sees
//! everything that was committed before it was asked for.

mod pools;

use std::time::Instant;

use rand::random;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use pools::Held;
pub(super) use pools::Pools;

use super::{Error, Service};
use crate::closed::wire;
use crate::domain::selection::{self, Rule};
use crate::domain::validation::{Check, Invalid};
use crate::store::archive::Changed;

/// Most parents of one selection.
pub const MAX_PARENTS: u32 = 10_000;
/// Above this many draws, drawing leaves the async threads.
const FEW: usize = 1000;

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

/// A wish for parents.
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
    /// None for `map_elites`, which needs what a pool does not hold.
    fn rule(&self) -> Option<Rule> {
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

    fn validate(&self) -> Result<(), Invalid> {
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

impl Service {
    /// Draws parents to improve next.
    ///
    /// # Errors
    /// [`Error::NoCandidates`] when the service has no active entry.
    pub async fn select_parents(&self, wish: &SelectParents) -> Result<Parents, Error> {
        wish.validate()?;
        let (seed, n) = (wish.seed.unwrap_or_else(random), wish.n.unwrap_or(1) as usize);
        let (candidates, parents) = match wish.rule() {
            Some(rule) => self.draw(&wish.service_name, rule, n, seed).await?,
            None => self.draw_elites(wish, n, seed).await?,
        };
        Ok(Parents { method: wish.method, seed, candidates, parents })
    }

    async fn draw(&self, service: &str, rule: Rule, n: usize, seed: u64) -> Result<(usize, Vec<Parent>), Error> {
        let asked = Instant::now();
        let held = self.pools.of(service);
        let mut held = held.lock_owned().await;
        if held.as_ref().is_none_or(|held| held.followed_at < asked) {
            self.follow_pool(service, &mut held).await?;
        }
        let draw = move || {
            let Some(Held { pool, .. }) = held.as_ref() else { return Err(Error::Internal) };
            let parent = |p: selection::Parent<'_>| Parent {
                archive_entry_id: p.archive_entry_id.to_owned(),
                accuracy_score: p.score,
                children: p.children,
            };
            Ok((pool.len(), pool.select(rule, n, seed)?.into_iter().map(parent).collect()))
        };
        // Thousands of draws take long enough to hold up other requests of the thread.
        if n > FEW { tokio::task::spawn_blocking(draw).await.map_err(|_| Error::Internal)? } else { draw() }
    }

    /// Takes in what changed, or everything.
    async fn follow_pool(&self, service: &str, held: &mut Option<Held>) -> Result<(), Error> {
        let followed_at = Instant::now();
        if let Some(Held { pool, followed, followed_at: at }) = held
            && let Some((changes, now)) = self.store.changed(service, followed).await?
        {
            let grown = !changes.is_empty();
            for Changed { archive_entry_id, parent_entry_id, score } in changes {
                match score {
                    Some(score) => pool.put(&archive_entry_id, parent_entry_id.as_deref(), score),
                    None => pool.remove(&archive_entry_id),
                }
            }
            (*followed, *at) = (now, followed_at);
            if grown {
                self.pools.make_room(service, pool.bytes());
            }
            return Ok(());
        }
        let (pool, followed) = self.store.pool(service).await?;
        self.pools.make_room(service, pool.bytes());
        *held = Some(Held { pool, followed, followed_at });
        Ok(())
    }

    async fn draw_elites(&self, wish: &SelectParents, n: usize, seed: u64) -> Result<(usize, Vec<Parent>), Error> {
        let features = wish.features.as_deref().unwrap_or_default();
        let candidates = self.store.candidates(&wish.service_name, features).await?;
        let bins = wish.bins.unwrap_or(10);
        let draw = move || {
            let drawn = selection::map_elites(&candidates, bins, n, seed)?;
            let parent = |c: &selection::Candidate| Parent {
                archive_entry_id: c.archive_entry_id.clone(),
                accuracy_score: c.score.get(),
                children: c.children,
            };
            Ok::<_, Error>((candidates.len(), drawn.into_iter().map(parent).collect()))
        };
        tokio::task::spawn_blocking(draw).await.map_err(|_| Error::Internal)?
    }
}
