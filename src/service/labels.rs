//! Labels of metrics that name values of the domain.

use crate::closed::into_set;
use crate::domain::improvement::{Priority, Status};
use crate::domain::job::RunOutcome;
use crate::telemetry::catalogue::labels;

into_set!(Priority => labels::Priority);
into_set!(labels::Priority => Priority);
into_set!(labels::ImprovementState => Status);
into_set!(labels::FinishOutcome => Status);
into_set!(RunOutcome => labels::JobOutcome);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_improvement_waits_in_one_label_or_ends_in_the_other() {
        let waits = labels::ImprovementState::ALL.iter().map(|state| Status::from(*state));
        let ends = labels::FinishOutcome::ALL.iter().map(|outcome| Status::from(*outcome));
        assert!(waits.chain(ends).eq(Status::ALL.iter().copied()));
        assert!(Status::ALL.iter().filter(|status| status.is_final()).eq(&Status::ALL[2..]));
    }
}
