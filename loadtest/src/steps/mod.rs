//! What the service's users do, step by step.

mod archive;
mod samples;
mod work;

use crate::caller::{Caller, Failure};

/// A step: mostly one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reads an entry by popularity.
    Read,
    /// Asks whether the copy of an entry at hand is still good; without one, reads.
    Revalidate,
    /// Draws two parents for the next variants.
    SelectParents,
    /// Puts a variant with a parent into the archive.
    Create,
    /// Looks at the first page of a service's entries.
    List,
    /// Goes from an entry to its root.
    Lineage,
    /// Looks at the archive in figures.
    Stats,
    /// The life of an improvement with one worker: asked for, claimed, reported twice, measured, completed.
    Improve,
    /// Stores a sample.
    Measure,
    /// Looks at the newest values of a service.
    Current,
    /// Looks at an hour of a series, minute by minute.
    Range,
    /// Looks at the last 24 hours, hour by hour.
    Trend,
}

/// Samples of an improvement.
pub(crate) const SAMPLES: usize = 8;
/// Requests of an improvement: it is asked for, claimed, told of twice, measured, completed.
const IMPROVE_REQUESTS: usize = SAMPLES + 5;

impl Step {
    /// How many requests it is.
    pub(crate) const fn requests(self) -> usize {
        match self {
            Self::Improve => IMPROVE_REQUESTS,
            _ => 1,
        }
    }

    /// As goose names its transaction.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Revalidate => "revalidate",
            Self::SelectParents => "select parents",
            Self::Create => "create",
            Self::List => "list",
            Self::Lineage => "lineage",
            Self::Stats => "stats",
            Self::Improve => "improve",
            Self::Measure => "measure",
            Self::Current => "current",
            Self::Range => "range",
            Self::Trend => "trend",
        }
    }

    /// Takes it.
    ///
    /// # Errors
    /// That of the first request that failed; it is recorded.
    pub(crate) async fn take<C: Caller>(self, caller: &mut C) -> Result<(), Failure> {
        match self {
            Self::Read => archive::read(caller).await,
            Self::Revalidate => archive::revalidate(caller).await,
            Self::SelectParents => archive::select_parents(caller).await,
            Self::Create => archive::create(caller).await,
            Self::List => archive::list(caller).await,
            Self::Lineage => archive::lineage(caller).await,
            Self::Stats => archive::stats(caller).await,
            Self::Improve => work::improve(caller).await,
            Self::Measure => samples::measure(caller).await,
            Self::Current => samples::current(caller).await,
            Self::Range => samples::range(caller).await,
            Self::Trend => samples::trend(caller).await,
        }
    }
}
