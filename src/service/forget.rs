//! Forgetting services whole: what an experiment left behind, taken away by an operator.
//!
//! The API deletes no entry, so that lineage stays whole; hence what others refer to is not taken from them here either.

use std::fmt::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Error, Service};
use crate::cache::{self, Key};
use crate::domain::validation::{Check, MAX_NAME};
use crate::store;
pub use crate::store::forget::{Footprint, Reference, Survey};
use crate::store::forget::{Pick, ReferenceKind, Step};

/// After this, running replicas show nothing of what was removed.
pub const NOTICED: Duration = cache::BOUND;
/// Least characters before a `*`: it should name an experiment, not the half of a house.
const LEAST: usize = 8;
/// References from outside that are told one by one; the rest are counted.
const TOLD: usize = 10;

/// Which services are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The one of this name.
    Exact(String),
    /// Those whose names begin with this.
    Prefix(String),
}

impl std::str::FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, wish): (_, fn(String) -> Self) =
            text.strip_suffix('*').map_or((text, Self::Exact), |prefix| (prefix, Self::Prefix));
        let wish = wish(name.to_owned());
        if matches!(wish, Self::Prefix(_)) && name.chars().count() < LEAST {
            return Err(format!("at least {LEAST} characters must stand before the *"));
        }
        let mut check = Check::default();
        check.name("service", name);
        check.done().map_err(|_| format!("a name has 1 to {MAX_NAME} characters, none of them a control character"))?;
        Ok(wish)
    }
}

/// Rows that were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Entries of the archive.
    pub entries: u64,
    /// Improvements.
    pub improvements: u64,
    /// What had happened to them.
    pub events: u64,
    /// Samples.
    pub samples: u64,
}

/// Why not all was removed. What was, stays so, and a next call goes on there.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// Whoever called wished so.
    #[error("stopped")]
    Stopped,
    /// The database said no.
    #[error("{0}")]
    Failed(store::error::Error),
}

impl Service {
    /// What there is of these services, each that was named exactly and those that a prefix finds.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn survey(&self, wishes: &[Wish]) -> Result<Survey, Error> {
        let named = wishes.iter().filter_map(|wish| match wish {
            Wish::Exact(name) => Some(name.clone()),
            Wish::Prefix(_) => None,
        });
        let named: Vec<String> = named.collect();
        let meant =
            |name: &str| wishes.iter().any(|wish| matches!(wish, Wish::Prefix(prefix) if name.starts_with(prefix)));
        Ok(self.store.survey(&named, meant).await?)
    }

    /// Removes what a survey found. Samples first, improvements with their events, then entries, children before their
    /// parents. `progress` is told what is removed so far; `stop` is looked at between two batches.
    ///
    /// # Errors
    /// With what was removed until then.
    pub async fn forget(
        &self,
        survey: &Survey,
        stop: &CancellationToken,
        progress: impl FnMut(&Removed),
    ) -> (Removed, Result<(), Unfinished>) {
        let mut work = Work { service: self, stop, progress, removed: Removed::default() };
        let outcome = work.all(survey).await;
        let removed = work.removed;
        self.forget_figures(survey).await;
        (removed, outcome)
    }

    /// Drops the figures of these services from Redis, where they would be for up to a minute. What a process holds itself
    /// it keeps for 5 s; entries are judged by the change feed.
    async fn forget_figures(&self, survey: &Survey) {
        // A first call would not wait until there is a connection; without one there is nothing to drop, or nobody to be told.
        let _ = self.cache.probe().await;
        self.cache.delete(&Key::Stats { service: None }).await;
        for Footprint { service, .. } in &survey.services {
            self.cache.delete(&Key::Stats { service: Some(service.clone()) }).await;
            self.cache.delete(&Key::MetricsTrend { service: service.clone() }).await;
        }
    }
}

/// Removing under way.
struct Work<'a, P> {
    service: &'a Service,
    stop: &'a CancellationToken,
    progress: P,
    removed: Removed,
}

impl<P: FnMut(&Removed)> Work<'_, P> {
    async fn all(&mut self, survey: &Survey) -> Result<(), Unfinished> {
        let store = &self.service.store;
        for Footprint { service, samples, .. } in &survey.services {
            for month in samples.keys() {
                let mut from = Some(Uuid::nil());
                while let Some(place) = from {
                    let step = store.forget_samples(service, *month, place).await.map_err(Unfinished::Failed)?;
                    self.removed.samples += step.removed;
                    from = step.next;
                    self.told()?;
                }
            }
        }
        for Footprint { service, .. } in &survey.services {
            let mut upto = None;
            loop {
                let step = store.forget_improvements(service, upto).await.map_err(Unfinished::Failed)?;
                self.removed.improvements += step.removed;
                self.removed.events += step.with_them;
                self.told()?;
                upto = step.next;
                if upto.is_none() {
                    break;
                }
            }
        }
        self.entries(survey).await
    }

    /// In rounds over the services, since entries of one may be the children of another's.
    async fn entries(&mut self, survey: &Survey) -> Result<(), Unfinished> {
        let mut left: Vec<&str> = survey.services.iter().map(|footprint| footprint.service.as_str()).collect();
        let mut pick = Pick::Newest;
        while !left.is_empty() {
            let before = self.removed.entries;
            let mut next = Vec::new();
            for service in left {
                if !self.entries_of(service, pick).await? {
                    next.push(service);
                }
            }
            left = next;
            pick = match (self.removed.entries > before, pick) {
                (true, _) => Pick::Newest,
                (false, Pick::Newest) => Pick::Leaves,
                // Others refer to what is left; the survey after this one says who.
                (false, Pick::Leaves) => return Ok(()),
            };
        }
        Ok(())
    }

    /// Removes entries of a service until none of those picked can go; answers whether there are none left.
    async fn entries_of(&mut self, service: &str, pick: Pick) -> Result<bool, Unfinished> {
        let mut upto = None;
        loop {
            let step = self.service.store.forget_entries(service, pick, upto).await.map_err(Unfinished::Failed)?;
            self.removed.entries += step.removed;
            self.told()?;
            match step {
                // Without a leaf of its own it may have entries whose children are another's.
                Step { next: None, .. } => return Ok(pick == Pick::Newest),
                Step { removed: 0, .. } => return Ok(false),
                Step { next, .. } => upto = next.filter(|_| pick == Pick::Newest),
            }
        }
    }

    fn told(&mut self) -> Result<(), Unfinished> {
        (self.progress)(&self.removed);
        if self.stop.is_cancelled() { Err(Unfinished::Stopped) } else { Ok(()) }
    }
}

impl Survey {
    /// How many rows there are: entries, improvements and samples.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.services.iter().map(|of| of.entries + of.improvements + of.samples.values().sum::<i64>()).sum()
    }

    /// Why nothing of it may be removed, in one line.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let leased = self.leased();
        let referred = self.references.iter().map(|other| {
            let (what, does) = match other.kind {
                ReferenceKind::Child => ("entry", "with a parent in"),
                ReferenceKind::Inspired => ("entry", "inspired by entries of"),
                ReferenceKind::Improves => ("improvement", "with a parent in"),
                ReferenceKind::Made => ("improvement", "that made entries of"),
            };
            let Reference { service, of, first, .. } = other;
            format!("{} of {service:?} {does} {of:?}, as {first:?}: name {service:?} too", counted(other.count, what))
        });
        let reasons: Vec<String> = leased.into_iter().chain(referred).collect();
        let mut line = reasons.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
        if reasons.len() > TOLD {
            let _ = write!(line, "; and {} more", reasons.len() - TOLD);
        }
        (!line.is_empty()).then_some(line)
    }

    /// What workers hold, all services together.
    fn leased(&self) -> Option<String> {
        let held: Vec<&Footprint> = self.services.iter().filter(|of| of.leased > 0).collect();
        let (first, ends) = (held.first()?, held.iter().filter_map(|of| of.leased_until).max()?);
        let services = if held.len() == 1 { String::new() } else { format!(" in {} services", held.len()) };
        Some(format!(
            "{}{services} held by workers, as {:?} of {:?} (the last lease ends at {}): cancel, or wait for that",
            counted(held.iter().map(|of| of.leased).sum(), "improvement"),
            first.first_leased.as_deref().unwrap_or_default(),
            first.service,
            ends.format("%Y-%m-%dT%H:%M:%SZ")
        ))
    }
}

/// `1 entry`, `2 entries`.
fn counted(count: i64, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_alone_or_behind_a_few_letters_names_nothing() {
        assert_eq!("loadtest-7*".parse(), Ok(Wish::Prefix("loadtest-7".to_owned())));
        assert_eq!("a".parse(), Ok(Wish::Exact("a".to_owned())));
        // Names may hold one.
        assert_eq!("load*test".parse(), Ok(Wish::Exact("load*test".to_owned())));
        for few in ["*", "a*", "1234567*", "äöüäöüä*"] {
            assert!(few.parse::<Wish>().unwrap_err().contains("at least 8"), "{few}");
        }
        assert!("äöüäöüäö*".parse::<Wish>().is_ok());
        for none in ["", "a\nb", &"x".repeat(101)] {
            assert!(none.parse::<Wish>().unwrap_err().contains("1 to 100"), "{none:?}");
        }
    }
}
