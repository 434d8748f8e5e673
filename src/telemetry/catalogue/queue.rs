//! The queue of improvements.

use super::labels::{FinishOutcome, ImprovementState, Priority, RescueOutcome};

super::metrics! {
    /// Improvements handed to workers, by priority.
    Counter IMPROVEMENTS_CLAIMED<(Priority,)> = "dgm_improvements_claimed_total", "improvements";
    /// Improvements that ended by a call, by outcome; rescued ones are counted apart.
    Counter IMPROVEMENTS_FINISHED<(FinishOutcome,)> = "dgm_improvements_finished_total", "improvements";
    /// Leases of workers that fell silent or ran too long, by what became of the improvement.
    Counter LEASES_RESCUED<(RescueOutcome,)> = "dgm_leases_rescued_total", "leases";
    /// Improvements that have not ended, by state.
    Gauge IMPROVEMENTS<(ImprovementState,)> = "dgm_improvements", "improvements";
    /// Unix time since which the oldest queued improvement may be claimed; 0 when none is queued.
    Gauge OLDEST_QUEUED<()> = "dgm_improvements_oldest_queued_timestamp_seconds", "seconds";
}
