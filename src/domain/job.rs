//! Runs of jobs.

use crate::closed::wire;

wire! {
    /// How a run of a job ended.
    pub RunOutcome "outcome of a run" {
        /// Done.
        Success "success",
        /// It went wrong.
        Failure "failure",
        /// Not done within its time.
        Timeout "timeout",
        /// Its process stopped.
        Cancelled "cancelled",
        /// Its process died, which the next run found out.
        Lost "lost",
    }
}
