//! Labels: closed sets of values, so that no id, path or error text ever becomes a series.

use super::metric::Label;

/// Declares a label and its values.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident $label:literal { $($variant:ident $value:literal,)* }) => {
        $crate::closed::closed! {
            $(#[$doc])*
            #[allow(missing_docs, reason = "the values say it")]
            pub $name $label { $($variant $value,)* }
        }

        impl $crate::telemetry::catalogue::Label for $name {
            const NAME: &'static str = $label;
            fn values() -> Vec<&'static str> { Self::WORDS.to_vec() }
            fn count() -> usize { Self::ALL.len() }
            fn index(self) -> usize { self as usize }
        }
    };
}
pub(super) use label;

label! {
    /// A class of cache keys.
    Class "class" { Entry "entry", Stats "stats", MetricsCurrent "metrics_current", MetricsTrend "metrics_trend", Session "session", }
}
label! {
    /// A tier of the cache.
    Tier "tier" { L1 "l1", L2 "l2", }
}
label! {
    /// What a lookup found.
    Lookup "result" { Hit "hit", Miss "miss", Error "error", }
}
label! {
    /// Why a copy in Redis was not served.
    Refusal "reason" { Old "old", Unknown "unknown", }
}
label! {
    /// Why a write to Redis failed: it is full, a read-only replica, does not permit it, cannot save to disk, has too few replicas, does not answer.
    RedisFailure "reason" { Memory "memory", ReadOnly "read_only", Permission "permission", Persistence "persistence", Replicas "replicas", Unavailable "unavailable", }
}
label! {
    /// Why an entry left the cache.
    Cause "cause" { Size "size", Expired "expired", Invalidated "invalidated", }
}
label! {
    /// A pool of connections: the general one, that of group commit, that of the locks of jobs, that of the read replica.
    Pool "pool" { Read "read", Write "write", Lock "lock", Replica "replica", }
}
label! {
    /// The state of a connection.
    PoolState "state" { Idle "idle", Used "used", }
}
label! {
    /// How urgent.
    Priority "priority" { Low "low", Medium "medium", High "high", Critical "critical", }
}
label! {
    /// How an improvement ended.
    FinishOutcome "outcome" { Completed "completed", Failed "failed", Cancelled "cancelled", }
}
label! {
    /// What became of a rescued improvement.
    RescueOutcome "outcome" { Requeued "requeued", Failed "failed", }
}
label! {
    /// A state in which an improvement waits.
    ImprovementState "state" { Queued "queued", Running "running", }
}
label! {
    /// Why a sample was refused.
    RejectReason "reason" { NoPartition "no_partition", Invalid "invalid", }
}
label! {
    /// How a run ended.
    JobOutcome "outcome" { Success "success", Failure "failure", Timeout "timeout", Cancelled "cancelled", Skipped "skipped",
        Lost "lost",
    }
}
label! {
    /// Why a caller was refused.
    AuthFailure "reason" { Missing "missing", Unknown "unknown", Expired "expired", Forbidden "forbidden", }
}
label! {
    /// A writer that commits in groups; `changes` asks in groups, for what changed in the archive since parents were drawn;
    /// `heartbeats` writes progress, too.
    Writer "writer" {
        Samples "samples", Entries "entries", Improvements "improvements", Claims "claims", Completions "completions",
        Heartbeats "heartbeats", Changes "changes",
    }
}
label! {
    /// Which way a notification goes.
    Direction "direction" { Sent "sent", Received "received", }
}
label! {
    /// Where a read that may be behind went.
    Source "source" { Primary "primary", Replica "replica", }
}
label! {
    /// Why the server rolled a transaction back in favour of others.
    Conflict "reason" { Serialization "serialization", Deadlock "deadlock", }
}
label! {
    /// A partitioned table.
    Table "table" { PerformanceMetrics "dgm_performance_metrics", }
}
label! {
    /// A table that grows, or whose rows change often.
    Relation "table" {
        Archive "dgm_archive", Changes "dgm_archive_changes", Access "dgm_archive_access", Improvements "dgm_improvements",
        ImprovementEvents "dgm_improvement_events", PerformanceMetrics "dgm_performance_metrics", JobRuns "dgm_job_runs",
    }
}
label! {
    /// How a scan comes to rows.
    Access "access" { Sequence "sequence", Index "index", }
}
label! {
    /// How serious a log line is.
    LogLevel "level" { Error "error", Warn "warn", Info "info", Debug "debug", }
}
label! {
    /// Why a log line is not in its file.
    LogFailure "reason" { Write "write", Queue "queue", }
}
label! {
    /// A folder whose disk may fill up; database and wal are the data directory of the database server and `pg_wal` in it.
    Volume "volume" { Logs "logs", Exports "exports", Artifacts "artifacts", Database "database", Wal "wal", }
}
label! {
    /// What a storage target is for.
    Target "target" { Exports "exports", Artifacts "artifacts", }
}
label! {
    /// Class of an error, by its SQLSTATE (PostgreSQL manual, appendix A): connection 08, and connections that broke or could not be
    /// opened; data 22; constraint 23; transaction state 25; authorization 28; database 3D; rollback 40; access 42, also syntax;
    /// resources 53, of which `disk_full` 53100, `out_of_memory` 53200 and `too_many_connections` 53300 are separate; limit 54; state 55;
    /// intervention 57, also timeouts; system 58; internal XX.
    ErrorClass "class" {
        Connection "connection", PoolTimeout "pool_timeout", Data "data", Constraint "constraint",
        TransactionState "transaction_state", Authorization "authorization", Database "database", Rollback "rollback",
        Access "access", DiskFull "disk_full", OutOfMemory "out_of_memory", TooManyConnections "too_many_connections",
        Resources "resources", Limit "limit", State "state", Intervention "intervention", System "system",
        Internal "internal", Other "other",
    }
}
label! {
    /// What became of a span.
    SpanOutcome "outcome" { Sent "sent", Failed "failed", Dropped "dropped", }
}
label! {
    /// A class of HTTP status.
    StatusClass "status" { Informational "1xx", Success "2xx", Redirection "3xx", ClientError "4xx", ServerError "5xx", }
}

impl LogLevel {
    /// The label of a level; what is finer than debug counts as debug.
    #[must_use]
    pub fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            _ => Self::Debug,
        }
    }
}

impl StatusClass {
    /// The label of a status.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// Declares a label that has one value in a build.
macro_rules! constant {
    ($(#[$doc:meta])* $name:ident $label:literal $value:expr) => {
        $(#[$doc])* #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;

        impl Label for $name {
            const NAME: &'static str = $label;
            fn values() -> Vec<&'static str> {
                vec![$value]
            }
            fn count() -> usize {
                1
            }
            fn index(self) -> usize {
                0
            }
        }
    };
}

constant! {
    /// The version of this crate.
    Version "version" env!("CARGO_PKG_VERSION")
}
constant! {
    /// The commit that was built.
    Revision "revision" env!("DGM_REVISION")
}
constant! {
    /// The compiler.
    Rustc "rustc" env!("DGM_RUSTC")
}
