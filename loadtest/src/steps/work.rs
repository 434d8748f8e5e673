//! A worker's part: asks for an improvement, claims one (its own or another's of the same service), shows life, measures,
//! and completes it with an archive entry.

use rand::RngExt as _;
use serde::Deserialize;
use serde_json::json;

use super::{SAMPLES, samples};
use crate::caller::{Caller, Failure};
use crate::operation::Operation;
use crate::plan::patch;

#[derive(Deserialize)]
struct Claimed {
    improvement_id: String,
    lease_token: String,
}

#[derive(Deserialize)]
struct Claims {
    items: Vec<Claimed>,
}

pub(super) async fn improve<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let identity = caller.identity()?;
    let service = identity.service().to_owned();
    let worker = format!("worker-{}", identity.number);
    let create = json!({
        "improvement_id": identity.next_id(),
        "service_name": service,
        "problem_statement": "Make the agent solve more of the benchmark.",
    });
    let (accuracy, patch) = (identity.rng.random::<f64>(), patch(&mut identity.rng));
    caller.post(Operation::CreateImprovement, "/api/v1/improvements", &create).await?;

    let claim = json!({"worker": worker, "services": [service], "max": 1, "lease_seconds": 60});
    let answer = caller.post(Operation::Claim, "/api/v1/improvements:claim", &claim).await?;
    let claims: Claims =
        serde_json::from_slice(&answer.body).map_err(|error| Failure::Senseless(format!("a claim: {error}")))?;
    // Another worker may have been quicker.
    let Some(Claimed { improvement_id: id, lease_token }) = claims.items.into_iter().next() else { return Ok(()) };

    let to = |verb| format!("/api/v1/improvements/{id}/{verb}");
    caller.post(Operation::Heartbeat, &to("heartbeat"), &json!({"lease_token": lease_token})).await?;
    for _ in 0..SAMPLES {
        samples::measure(caller).await?;
    }
    let progress = json!({"lease_token": lease_token, "progress": 50, "message": "half of the benchmark is done"});
    caller.post(Operation::Progress, &to("progress"), &progress).await?;
    let complete = json!({
        "lease_token": lease_token,
        "archive_entry": {
            "archive_entry_id": format!("{id}-result"),
            "solution_patch": patch,
            "performance_metrics": {"tests_passed": 50},
            "accuracy_score": accuracy,
            "constitutional_compliance_score": 0.9,
        },
    });
    caller.post(Operation::Complete, &to("complete"), &complete).await?;
    Ok(())
}
