//! Use cases: validation, the meaning of transactions, and cache policy. One struct for each group of use cases holds only the
//! stores that it needs. This layer knows neither SQL nor HTTP.

pub mod archive;
pub mod artifacts;
pub mod changes;
pub mod error;
pub mod hub;
pub mod identity;
mod ids;
pub mod improvements;
pub mod jobs;
mod labels;
pub mod operations;
pub mod parents;
pub mod partitions;
pub mod purge;
mod render;
pub mod runs;
pub mod samples;
pub mod settings;

use std::sync::Arc;

use crate::cache::Cache;
use crate::domain::clock::Clock;
use crate::objects::Bucket;
use crate::store::Stores;
use operations::Volumes;
use settings::Settings;

/// Every group of use cases; cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    /// Archive entries.
    pub archive: archive::ArchiveService,
    /// Artifacts of entries.
    pub artifacts: artifacts::ArtifactService,
    /// Coherence of the cache.
    pub changes: changes::ChangeService,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What wakes those who wait for changes of improvements.
    pub hub: hub::Hub,
    /// API tokens and sessions.
    pub identity: identity::IdentityService,
    /// The queue of improvements.
    pub improvements: improvements::ImprovementService,
    /// Runs of jobs.
    pub jobs: jobs::JobService,
    /// State of the parts that the service depends on.
    pub operations: operations::OperationsService,
    /// Parent selection.
    pub parents: parents::ParentService,
    /// Partitions of the samples and their retention.
    pub partitions: partitions::PartitionService,
    /// Removal of whole services.
    pub purge: purge::PurgeService,
    /// Import and export of runs.
    pub runs: runs::RunService,
    /// Samples.
    pub samples: samples::SampleService,
    stores: Stores,
}

impl Services {
    /// Builds every group of use cases.
    #[must_use]
    pub fn new(stores: Stores, cache: Cache, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        let Settings { window, premake_months, retention_timeout, exports, artifacts, logs, data_directory, .. } =
            settings;
        let volumes = Volumes {
            logs,
            exports: exports.as_ref().and_then(Bucket::folder),
            artifacts: artifacts.as_ref().and_then(|storage| storage.bucket.folder()),
            database: data_directory,
        };
        let retention = partitions::Settings { premake_months, retention_timeout, exports: exports.clone(), window };
        let partitions = partitions::PartitionService::new(stores.partitions.clone(), clock.clone(), retention);
        let jobs = jobs::JobService::new(stores.jobs.clone());
        let measured = (jobs.clone(), partitions.clone());
        let tokens = identity::feed::TokenFeed::new();
        let hub = hub::Hub::new(stores.events.clone(), clock.clone());
        Self {
            archive: archive::ArchiveService::new(stores.archive.clone(), cache.clone(), clock.clone()),
            artifacts: artifacts::ArtifactService::new(stores.artifacts.clone(), clock.clone(), artifacts, exports),
            changes: changes::ChangeService::new(
                stores.changes.clone(),
                stores.maintenance.clone(),
                cache.clone(),
                tokens.clone(),
            ),
            identity: identity::IdentityService::new(
                (stores.identity.clone(), tokens),
                cache.clone(),
                clock.clone(),
                settings.session_ttl,
            ),
            improvements: improvements::ImprovementService::new(
                stores.improvements.clone(),
                hub.clone(),
                cache.clone(),
                clock.clone(),
            ),
            hub,
            operations: operations::OperationsService::new(
                (stores.maintenance.clone(), stores.improvements.clone()),
                measured,
                cache.clone(),
                clock.clone(),
                volumes,
                settings.standbys,
            ),
            parents: parents::ParentService::new(stores.archive.clone(), settings.selection_max_bytes),
            purge: purge::PurgeService::new(stores.purge.clone(), stores.partitions.clone(), cache.clone()),
            runs: runs::RunService::new(stores.archive.clone(), cache.clone()),
            samples: samples::SampleService::new(stores.samples.clone(), cache, clock.clone(), window),
            clock,
            jobs,
            partitions,
            stores,
        }
    }

    /// Writes what is waiting, then closes every connection.
    pub async fn close(&self) {
        self.stores.close().await;
    }
}
