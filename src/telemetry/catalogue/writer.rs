//! Group commit.

use super::labels::Writer;
use super::{LATENCY, SIZES};

super::metrics! {
    /// Rows of a batch.
    Histogram WRITER_BATCH_ROWS<(Writer,)> = "dgm_writer_batch_rows", "rows", SIZES;
    /// Time that a request waits for its batch to start.
    Histogram WRITER_WAIT<(Writer,)> = "dgm_writer_wait_seconds", "seconds", LATENCY;
    /// Time from the start of a batch until it is committed.
    Histogram WRITER_COMMIT_DURATION<(Writer,)> = "dgm_writer_commit_duration_seconds", "seconds", LATENCY;
    /// Requests that waited when the newest one came.
    Gauge WRITER_QUEUED<(Writer,)> = "dgm_writer_queued", "requests";
    /// Requests refused because too many waited.
    Counter WRITER_REFUSED<(Writer,)> = "dgm_writer_refused_total", "requests";
    /// Batches that were halved to find what the database refuses.
    Counter WRITER_SPLIT<(Writer,)> = "dgm_writer_split_total", "batches";
}
