//! The operations of the contract that the load is made of, by the names under which they are counted and judged.

use serde::Serialize;

/// An operation: method and route, and what sets it apart where a route does two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub(crate) enum Operation {
    ReadEntry,
    RevalidateEntry,
    CreateEntry,
    SelectParents,
    ListEntries,
    Lineage,
    ArchiveStats,
    CreateImprovement,
    Claim,
    Heartbeat,
    Progress,
    Complete,
    Ingest,
    Current,
    Range,
    Trend,
}

impl Operation {
    pub(crate) const ALL: [Self; 16] = [
        Self::ReadEntry,
        Self::RevalidateEntry,
        Self::CreateEntry,
        Self::SelectParents,
        Self::ListEntries,
        Self::Lineage,
        Self::ArchiveStats,
        Self::CreateImprovement,
        Self::Claim,
        Self::Heartbeat,
        Self::Progress,
        Self::Complete,
        Self::Ingest,
        Self::Current,
        Self::Range,
        Self::Trend,
    ];

    /// As it stands in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ReadEntry => "GET /api/v1/archive/{id}",
            Self::RevalidateEntry => "GET /api/v1/archive/{id} If-None-Match",
            Self::CreateEntry => "POST /api/v1/archive",
            Self::SelectParents => "POST /api/v1/archive:select-parents",
            Self::ListEntries => "GET /api/v1/archive",
            Self::Lineage => "GET /api/v1/archive/{id}/lineage",
            Self::ArchiveStats => "GET /api/v1/archive/stats",
            Self::CreateImprovement => "POST /api/v1/improvements",
            Self::Claim => "POST /api/v1/improvements:claim",
            Self::Heartbeat => "POST /api/v1/improvements/{id}/heartbeat",
            Self::Progress => "POST /api/v1/improvements/{id}/progress",
            Self::Complete => "POST /api/v1/improvements/{id}/complete",
            Self::Ingest => "POST /api/v1/metrics",
            Self::Current => "GET /api/v1/metrics/{service}/current",
            Self::Range => "GET /api/v1/metrics/{service}/{metric_type}",
            Self::Trend => "GET /api/v1/metrics/{service}/trend",
        }
    }

    /// Whether 304 is the answer hoped for; 200 is a success, too.
    pub(crate) const fn is_conditional(self) -> bool {
        matches!(self, Self::RevalidateEntry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_are_unique() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, at, "{operation:?} is counted at its place");
            let same = Operation::ALL.iter().filter(|other| other.name() == operation.name()).count();
            assert_eq!(same, 1, "{}", operation.name());
        }
    }
}
