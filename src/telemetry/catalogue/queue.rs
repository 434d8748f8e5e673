//! The queue of improvements.

use super::labels::{Direction, FinishOutcome, ImprovementState, Priority, RescueOutcome};
use super::{LATENCY, WORK};

super::metrics! {
    /// Improvements handed to workers, by priority.
    Counter IMPROVEMENTS_CLAIMED<(Priority,)> = "dgm_improvements_claimed_total", "improvements";
    /// Improvements that ended by a call, by outcome; rescued ones are counted apart.
    Counter IMPROVEMENTS_FINISHED<(FinishOutcome,)> = "dgm_improvements_finished_total", "improvements";
    /// Time that an improvement waited in the queue since it might be claimed, by priority.
    Histogram IMPROVEMENT_WAIT<(Priority,)> = "dgm_improvements_wait_seconds", "seconds", WORK;
    /// Time from the claim of an improvement to its end by a call, by outcome.
    Histogram IMPROVEMENT_RUN<(FinishOutcome,)> = "dgm_improvements_run_seconds", "seconds", WORK;
    /// Leases of workers that fell silent or ran too long, by what became of the improvement.
    Counter LEASES_RESCUED<(RescueOutcome,)> = "dgm_leases_rescued_total", "leases";
    /// Improvements that have not ended, by state and priority.
    Gauge IMPROVEMENTS<(ImprovementState, Priority)> = "dgm_improvements", "improvements";
    /// Unix time since which the oldest queued improvement may be claimed; 0 when none is queued.
    Gauge OLDEST_QUEUED<()> = "dgm_improvements_oldest_queued_timestamp_seconds", "seconds";
    /// Event streams that wait for the next event of their improvement.
    Gauge HUB_SUBSCRIPTIONS<()> = "dgm_hub_subscriptions", "streams";
    /// Notifications about improvements, by direction: sent after commits of this process, and received from other processes while streams wait.
    Counter HUB_NOTIFICATIONS<(Direction,)> = "dgm_hub_notifications_total", "notifications";
    /// Time from an event until this process has it for a stream that waits.
    Histogram HUB_DELIVERY_LAG<()> = "dgm_hub_delivery_lag_seconds", "seconds", LATENCY;
}
