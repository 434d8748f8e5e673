//! A client that works: asks for an improvement, claims one (its own or another's of the same service), reports and
//! completes it with an archive entry.

use std::sync::Arc;

use goose::prelude::*;
use rand::RngExt as _;
use serde::Deserialize;
use serde_json::json;

use crate::plan::{Plan, patch};
use crate::session::{post, session};

const CREATE: &str = "/api/v1/improvements";
const CLAIM: &str = "/api/v1/improvements:claim";
const HEARTBEAT: &str = "/api/v1/improvements/{id}/heartbeat";
const PROGRESS: &str = "/api/v1/improvements/{id}/progress";
const COMPLETE: &str = "/api/v1/improvements/{id}/complete";

pub(super) fn scenario(plan: &Arc<Plan>) -> Scenario {
    scenario!("worker")
        .register_transaction(super::start(plan))
        .register_transaction(transaction!(improve).set_name("improve"))
}

#[derive(Deserialize)]
struct Claimed {
    improvement_id: String,
    lease_token: String,
}

/// The contract calls the answer "improvements": a list, bare or as `items`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Claims {
    Bare(Vec<Claimed>),
    Listed {
        #[serde(alias = "improvements")]
        items: Vec<Claimed>,
    },
}

async fn improve(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    session.asked += 1;
    let service = session.service().to_owned();
    let worker = format!("worker-{}", session.number);
    let own = format!("lt-{}-{}-{}", session.plan.run, session.number, session.asked);
    let create = json!({
        "improvement_id": own,
        "service_name": service,
        "problem_statement": "Make the agent solve more of the benchmark.",
    });
    let (accuracy, patch) = (session.rng.random::<f64>(), patch(&mut session.rng));
    post(user, CREATE, CREATE, &create).await?;

    let claim = json!({"worker": worker, "services": [service], "max": 1, "lease_seconds": 60});
    let answer = post(user, CLAIM, CLAIM, &claim).await?;
    let claims = serde_json::from_slice(&answer.body).map_err(|error| format!("{CLAIM}: {error}"))?;
    let (Claims::Bare(claimed) | Claims::Listed { items: claimed }) = claims;
    // Another worker may have been quicker.
    let Some(Claimed { improvement_id: id, lease_token }) = claimed.into_iter().next() else { return Ok(()) };

    let step = |verb| format!("/api/v1/improvements/{id}/{verb}");
    post(user, HEARTBEAT, &step("heartbeat"), &json!({"lease_token": lease_token})).await?;
    let progress = json!({"lease_token": lease_token, "progress": 50, "message": "half of the benchmark is done"});
    post(user, PROGRESS, &step("progress"), &progress).await?;
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
    post(user, COMPLETE, &step("complete"), &complete).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_bare_and_listed() {
        let one = r#"{"improvement_id":"a","lease_token":"t","priority":"high"}"#;
        for text in [format!("[{one}]"), format!(r#"{{"items":[{one}]}}"#), format!(r#"{{"improvements":[{one}]}}"#)] {
            let (Claims::Bare(claimed) | Claims::Listed { items: claimed }) = serde_json::from_str(&text).unwrap();
            assert_eq!(claimed[0].improvement_id, "a");
            assert_eq!(claimed[0].lease_token, "t");
        }
        assert!(serde_json::from_str::<Claims>(r#"{"detail":"no"}"#).is_err());
    }
}
