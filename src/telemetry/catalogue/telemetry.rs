//! Logs and traces: whether what the process says of itself arrives.

/// Log lines and where they are kept.
pub mod logs {
    use crate::telemetry::catalogue::labels::{LogFailure, LogLevel, Volume};

    crate::telemetry::catalogue::metrics! {
        /// Log lines by level; only those that pass the filter.
        Counter LOG_EVENTS<(LogLevel,)> = "dgm_log_events_total", "lines";
        /// Log lines that are not in their file; write: writing failed, as on a full disk; queue: the disk was too slow.
        Counter LOG_FAILURES<(LogFailure,)> = "dgm_log_failures_total", "lines";
        /// Size of the file system of a folder that this process writes to, or of the database server (setting
        /// `database.data_directory`); absent for one that is not configured, or cannot be reached.
        Gauge VOLUME_SIZE<(Volume,)> = "dgm_volume_size_bytes", "bytes";
        /// What this process may still write there.
        Gauge VOLUME_FREE<(Volume,)> = "dgm_volume_free_bytes", "bytes";
    }
}

/// Spans on their way out.
pub mod traces {
    use crate::telemetry::catalogue::labels::SpanOutcome;

    crate::telemetry::catalogue::metrics! {
        /// Spans of traces that are sent; sent: the collector took them; failed: it did not; dropped: too many waited for it.
        Counter TRACE_SPANS<(SpanOutcome,)> = "dgm_trace_spans_total", "spans";
    }
}

pub use logs::{LOG_EVENTS, LOG_FAILURES, VOLUME_FREE, VOLUME_SIZE};
pub use traces::TRACE_SPANS;
