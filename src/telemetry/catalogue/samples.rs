//! Performance metric samples.

use super::labels::RejectReason;

super::metrics! {
    /// Samples stored.
    Counter SAMPLES_INGESTED<()> = "dgm_samples_ingested_total", "samples";
    /// Samples refused, by reason.
    Counter SAMPLES_REJECTED<(RejectReason,)> = "dgm_samples_rejected_total", "samples";
}
