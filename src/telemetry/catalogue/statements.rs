//! The names of the SQL statements; `store` pairs each with its text.

/// Declares the names, and with them what puts a name before a text.
macro_rules! statements {
    ($d:tt $($variant:ident $name:literal,)*) => {
        super::labels::label! {
            /// A statement.
            Statement "statement" { $($variant $name,)* }
        }

        /// The text of a statement behind its name, by which the server's own views and logs tell it: `/* dgm:archive_get */
        /// SELECT ...`. A name that does not exist does not compile.
        macro_rules! sql {
            $(($variant, $d($d text:tt)+) => { concat!("/* dgm:", $name, " */ ", $d($d text)+) };)*
        }
        pub(crate) use sql;
    };
}

/// The entries whose scores count in statistics, orders and panels: those of failed and archived entries are no results.
macro_rules! ranked {
    () => {
        "status = 'active'"
    };
}
pub(crate) use ranked;

statements! {
    $
    ArchiveInsert "archive_insert",
    ArchiveInspire "archive_inspire",
    ArchiveGet "archive_get",
    ArchiveList "archive_list",
    ArchivePatch "archive_patch",
    ArchiveLineage "archive_lineage",
    ArchiveDescendants "archive_descendants",
    ArchiveStats "archive_stats",
    ArchiveBest "archive_best",
    ArchiveCandidates "archive_candidates",
    ArchiveChanged "archive_changed",
    ArchiveExport "archive_export",
    ArchiveNeighbours "archive_neighbours",
    ArtifactPut "artifact_put",
    ArtifactGet "artifact_get",
    ArtifactDelete "artifact_delete",
    ArtifactCollect "artifact_collect",
    ArtifactVerify "artifact_verify",
    AccessCount "access_count",
    AccessMost "access_most",
    ImprovementInsert "improvement_insert",
    ImprovementGet "improvement_get",
    ImprovementList "improvement_list",
    ImprovementClaim "improvement_claim",
    ImprovementHeartbeat "improvement_heartbeat",
    ImprovementComplete "improvement_complete",
    ImprovementFail "improvement_fail",
    ImprovementCancel "improvement_cancel",
    ImprovementRetry "improvement_retry",
    ImprovementRescue "improvement_rescue",
    ImprovementEvents "improvement_events",
    SamplesInsert "samples_insert",
    SamplesCurrent "samples_current",
    SamplesRange "samples_range",
    SamplesTrend "samples_trend",
    ForgetSurvey "forget_survey",
    ForgetSamples "forget_samples",
    ForgetImprovements "forget_improvements",
    ForgetEntries "forget_entries",
    PartitionEnsure "partition_ensure",
    PartitionStatus "partition_status",
    PartitionDrop "partition_drop",
    PartitionRead "partition_read",
    TokenLoad "token_load",
    TokenState "token_state",
    TokenList "token_list",
    TokenInsert "token_insert",
    TokenRevoke "token_revoke",
    JobRuns "job_runs",
    FeedPoll "feed_poll",
    FeedPrune "feed_prune",
    HubPoll "hub_poll",
    HubRead "hub_read",
    HubListeners "hub_listeners",
    HubNotify "hub_notify",
    ReplicaLag "replica_lag",
    SchemaVersion "schema_version",
    Clock "clock",
    FlushProbe "flush_probe",
    Upkeep "upkeep",
    ServerActivity "server_activity",
    ServerTotals "server_totals",
    ServerStandbys "server_standbys",
    ServerStatements "server_statements",
    ServerSize "server_size",
}
