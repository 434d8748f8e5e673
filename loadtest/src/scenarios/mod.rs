//! Who calls the service, and in what proportion.

mod metrics;
mod reader;
mod worker;

use std::sync::Arc;

use goose::prelude::*;

use crate::plan::Plan;

/// Every scenario, weighted: of ten clients six read, three measure and one works.
///
/// # Errors
/// None with weights above 0, as these are.
pub(crate) fn all(plan: &Arc<Plan>) -> Result<[Scenario; 3], GooseError> {
    Ok([
        reader::scenario(plan)?.set_weight(6)?,
        metrics::scenario(plan)?.set_weight(3)?,
        worker::scenario(plan).set_weight(1)?,
    ])
}

/// The first step of every client.
fn start(plan: &Arc<Plan>) -> Transaction {
    let plan = Arc::clone(plan);
    let function: TransactionFunction = Arc::new(move |user| Box::pin(crate::session::start(user, Arc::clone(&plan))));
    Transaction::new(function).set_name("start").set_on_start().set_sequence(1)
}
