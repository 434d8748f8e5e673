//! What to do about each alert, for whoever was woken by it; in the binary, so that they can be read where nothing else is.

macro_rules! runbooks {
    ($($name:literal)*) => {
        const RUNBOOKS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../alerts/runbooks/", $name, ".md")))),*];
    };
}

runbooks! {
    "DgmArchiverFailing" "DgmArtifactLost" "DgmArtifactStorageFailing" "DgmAuthFailures" "DgmBackupStale"
    "DgmCacheBudgetBurn" "DgmCacheHitRateLow" "DgmCacheSlow" "DgmCacheStampede" "DgmCardinalityHigh"
    "DgmCertificateExpiring" "DgmChangeFeedStale" "DgmClaimFull" "DgmClockDiffers" "DgmConnectionsHigh"
    "DgmConnectionsRefused" "DgmDatabaseDiskFull" "DgmDatabaseDiskUnknown" "DgmDeadTuples" "DgmDeadlocks"
    "DgmDown" "DgmErrorBudgetBurn" "DgmFileDescriptorsHigh" "DgmIndexUsageLow" "DgmIndexesInvalid" "DgmIngestBudgetBurn"
    "DgmInvalidationLag" "DgmJobFailing" "DgmJobMissed" "DgmJobOverlap" "DgmJobStale" "DgmLatencyBudgetBurn"
    "DgmLeasesExpiring" "DgmLocksWaiting" "DgmLogWritesFailing" "DgmLongTransaction" "DgmPanic" "DgmPartitionDetachedLeft"
    "DgmPartitionHorizonLow" "DgmPartitionMissing" "DgmPoolSaturated" "DgmPostgresDown" "DgmPostgresFailing" "DgmQueryLatencyHigh"
    "DgmQueueAgeHigh" "DgmRedisDown" "DgmRedisEvicting" "DgmRedisInfoRefused" "DgmRedisMemoryHigh" "DgmRedisWritesRefused" "DgmReplicationLag" "DgmRestarting"
    "DgmRestoreDrillStale" "DgmRetentionBehind" "DgmRuntimeSaturated" "DgmSamplesRejected" "DgmSloMetricAbsent" "DgmSlotInactive"
    "DgmSlotWalHigh" "DgmStandbyMissing" "DgmStatementErrors" "DgmStatisticsHidden" "DgmStorageTargetMissing" "DgmTargetAbsent"
    "DgmTraceExportFailing" "DgmVersionsMixed" "DgmVolumeFull" "DgmWatchdog" "DgmWalFlushSlow" "DgmWritesRefused" "DgmXidAge"
}

/// The alerts that have one.
pub fn names() -> impl Iterator<Item = &'static str> {
    RUNBOOKS.iter().map(|(name, _)| *name)
}

/// The runbook of an alert, in Markdown; of `README`, the index; of `oncall.sh`, the commands that runbooks use.
#[must_use]
pub fn of(alert: &str) -> Option<&'static str> {
    let index = ("README", include_str!("../../alerts/runbooks/README.md"));
    let commands = ("oncall.sh", include_str!("../../alerts/runbooks/oncall.sh"));
    RUNBOOKS.iter().chain([&index, &commands]).find(|(name, _)| *name == alert).map(|(_, text)| *text)
}
