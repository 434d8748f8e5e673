//! A client that measures: one sample a request, and now and then a look at the newest values.

use std::sync::Arc;

use chrono::Utc;
use goose::prelude::*;
use rand::RngExt as _;
use serde_json::json;

use crate::plan::{Plan, rfc3339};
use crate::session::{get, post, session};

const SAMPLES: &str = "/api/v1/metrics";
const CURRENT: &str = "/api/v1/metrics/{service}/current";
const TYPES: [&str; 4] = ["latency_seconds", "accuracy_ratio", "memory_bytes", "tokens_per_second"];

pub(super) fn scenario(plan: &Arc<Plan>) -> Result<Scenario, GooseError> {
    Ok(scenario!("metrics")
        .register_transaction(super::start(plan))
        // A first sample before any look: a service without samples has no newest value.
        .register_transaction(transaction!(measure).set_name("first sample").set_on_start().set_sequence(2))
        .register_transaction(transaction!(measure).set_name("measure").set_weight(19)?)
        .register_transaction(transaction!(current).set_name("current")))
}

async fn measure(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let body = json!({
        "service_name": session.service(),
        "metric_type": TYPES[session.rng.random_range(0..TYPES.len())],
        "metric_value": session.rng.random_range(0.0..1000.0),
        "measurement_timestamp": rfc3339(Utc::now()),
    });
    post(user, SAMPLES, SAMPLES, &body).await?;
    Ok(())
}

async fn current(user: &mut GooseUser) -> TransactionResult {
    let path = format!("/api/v1/metrics/{}/current", session(user)?.service());
    get(user, CURRENT, &path).await?;
    Ok(())
}
