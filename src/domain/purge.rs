//! Removal of whole services: which, what they have, and why they may not be removed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};

use super::validation::{Check, MAX_NAME};
use crate::closed::closed;

/// Minimum number of characters before a `*`, so that a pattern names an experiment and not half of all services.
const MIN_PREFIX: usize = 8;
/// References from other services that are listed; the rest are counted.
const MAX_REASONS: usize = 10;

/// Selects services by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServicePattern {
    /// The service of this name.
    Exact(String),
    /// Services whose names begin with this.
    Prefix(String),
}

impl std::str::FromStr for ServicePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pattern): (_, fn(String) -> Self) =
            text.strip_suffix('*').map_or((text, Self::Exact), |prefix| (prefix, Self::Prefix));
        let pattern = pattern(name.to_owned());
        if matches!(pattern, Self::Prefix(_)) && name.chars().count() < MIN_PREFIX {
            return Err(format!("at least {MIN_PREFIX} characters must stand before the *"));
        }
        let mut check = Check::default();
        check.name("service", name);
        check.done().map_err(|_| format!("a name has 1 to {MAX_NAME} characters, none of them a control character"))?;
        Ok(pattern)
    }
}

/// The rows of a service.
#[derive(Debug, Clone)]
pub struct Footprint {
    /// Its name.
    pub service: String,
    /// Entries of the archive.
    pub entries: i64,
    /// Improvements in any state.
    pub improvements: i64,
    /// Of these, how many a worker holds.
    pub leased: i64,
    /// One of them.
    pub first_leased: Option<String>,
    /// When the last of their leases ends.
    pub leased_until: Option<DateTime<Utc>>,
    /// Samples, by month; those without any are left out.
    pub samples: BTreeMap<NaiveDate, i64>,
}

closed! {
    /// How something refers to an entry of another service.
    pub ReferenceKind "kind of reference" {
        /// An entry whose parent it is.
        Child "child",
        /// An entry that it inspired.
        Inspired "inspired",
        /// An improvement that starts from it.
        Improves "improves",
        /// An improvement whose result it is.
        Made "made",
    }
}

/// References from another service to entries of a service.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What refers.
    pub kind: ReferenceKind,
    /// Whose they are.
    pub service: String,
    /// Whose entries they refer to.
    pub of: String,
    /// How many.
    pub count: i64,
    /// One of them.
    pub first: String,
}

/// The rows of some services, in one snapshot.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Each of them, by name.
    pub services: Vec<Footprint>,
    /// References from other services.
    pub references: Vec<Reference>,
    /// Tables that look like partitions and are not attached; their rows are not counted.
    pub apart: Vec<String>,
}

impl Survey {
    /// Number of entries, improvements and samples.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.services.iter().map(|of| of.entries + of.improvements + of.samples.values().sum::<i64>()).sum()
    }

    /// Why the services may not be removed, in one line.
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
        let mut line = reasons.iter().take(MAX_REASONS).cloned().collect::<Vec<_>>().join("; ");
        if reasons.len() > MAX_REASONS {
            let _ = write!(line, "; and {} more", reasons.len() - MAX_REASONS);
        }
        (!line.is_empty()).then_some(line)
    }

    /// Improvements that workers hold, of all services.
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
        assert_eq!("loadtest-7*".parse(), Ok(ServicePattern::Prefix("loadtest-7".to_owned())));
        assert_eq!("a".parse(), Ok(ServicePattern::Exact("a".to_owned())));
        // Names may hold one.
        assert_eq!("load*test".parse(), Ok(ServicePattern::Exact("load*test".to_owned())));
        for few in ["*", "a*", "1234567*", "äöüäöüä*"] {
            assert!(few.parse::<ServicePattern>().unwrap_err().contains("at least 8"), "{few}");
        }
        assert!("äöüäöüäö*".parse::<ServicePattern>().is_ok());
        for none in ["", "a\nb", &"x".repeat(101)] {
            assert!(none.parse::<ServicePattern>().unwrap_err().contains("1 to 100"), "{none:?}");
        }
    }
}
