//! SQL against the service's own database, with one struct for each aggregate, which owns its writers.

pub mod archive;
pub mod artifacts;
pub mod changes;
pub mod events;
pub mod facts;
pub mod identity;
pub mod improvements;
pub mod integrity;
pub mod jobs;
pub mod maintenance;
pub mod migrate;
mod page;
pub mod partitions;
pub mod purge;
pub mod samples;
mod text;

use crate::db::Database;

/// A `pg_snapshot` in which no transaction of the service is visible: from it, feeds ask for all that they keep.
pub const NO_SNAPSHOT: &str = "3:3:";

/// Every store of one database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stores {
    database: Database,
    /// Archive entries.
    pub archive: archive::ArchiveStore,
    /// Artifacts and their owners.
    pub artifacts: artifacts::ArtifactStore,
    /// The change feed of the archive.
    pub changes: changes::ChangeStore,
    /// Events of improvements.
    pub events: events::EventStore,
    /// API tokens.
    pub identity: identity::IdentityStore,
    /// Improvements.
    pub improvements: improvements::ImprovementStore,
    /// Locks and history of jobs.
    pub jobs: jobs::JobStore,
    /// Statistics of the server, the schema version and the clock.
    pub maintenance: maintenance::MaintenanceStore,
    /// Partitions of the samples.
    pub partitions: partitions::PartitionStore,
    /// Removal of whole services.
    pub purge: purge::PurgeStore,
    /// Samples.
    pub samples: samples::SampleStore,
}

impl Stores {
    /// The stores of a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let partitions = partitions::PartitionStore::new(database.clone());
        Self {
            archive: archive::ArchiveStore::new(database.clone()),
            artifacts: artifacts::ArtifactStore::new(database.clone()),
            changes: changes::ChangeStore::new(database.clone()),
            events: events::EventStore::new(database.clone()),
            identity: identity::IdentityStore::new(database.clone()),
            improvements: improvements::ImprovementStore::new(database.clone()),
            jobs: jobs::JobStore::new(database.clone()),
            maintenance: maintenance::MaintenanceStore::new(database.clone()),
            samples: samples::SampleStore::new(database.clone(), partitions.clone()),
            purge: purge::PurgeStore::new(database.clone()),
            partitions,
            database,
        }
    }

    /// Writes what is waiting, then closes every connection.
    pub async fn close(&self) {
        self.improvements.close().await;
        self.samples.close().await;
        self.archive.close().await;
        self.database.close().await;
    }
}
