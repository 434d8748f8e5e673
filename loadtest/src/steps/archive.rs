//! The archive: entries by popularity, lists, lineages, and parents for the next variants.

use std::sync::Arc;

use rand::RngExt as _;
use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;
use serde_json::json;

use crate::caller::{Caller, Failure};
use crate::operation::Operation;
use crate::plan::patch;

pub(super) async fn read<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let (rank, id) = caller.identity()?.draw();
    let answer = caller.get(Operation::ReadEntry, &format!("/api/v1/archive/{id}")).await?;
    caller.identity()?.remember(rank, answer.etag);
    Ok(())
}

pub(super) async fn revalidate<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let (rank, id) = caller.identity()?.draw();
    let path = format!("/api/v1/archive/{id}");
    let answer = match caller.identity()?.etag(rank) {
        None => caller.get(Operation::ReadEntry, &path).await?,
        Some(etag) => {
            let request = caller.request(Method::GET, &path)?.header(IF_NONE_MATCH, etag);
            caller.send(Operation::RevalidateEntry, request).await?
        }
    };
    caller.identity()?.remember(rank, answer.etag);
    Ok(())
}

pub(super) async fn select_parents<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let identity = caller.identity()?;
    let seed: u32 = identity.rng.random();
    let body = json!({"service_name": identity.service(), "n": 2, "seed": seed});
    caller.post(Operation::SelectParents, "/api/v1/archive:select-parents", &body).await?;
    Ok(())
}

pub(super) async fn create<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let identity = caller.identity()?;
    let (rank, _) = identity.draw();
    let id = identity.next_id();
    let plan = Arc::clone(&identity.plan);
    let parent = &plan.entries[rank];
    let body = json!({
        "archive_entry_id": id,
        "parent_entry_id": parent.id,
        "generation_number": parent.generation + 1,
        "service_name": parent.service,
        "problem_statement": "Make the agent solve more of the benchmark.",
        "solution_patch": patch(&mut identity.rng),
        "performance_metrics": {"tests_passed": 50},
        "accuracy_score": identity.rng.random::<f64>(),
        "constitutional_compliance_score": 0.9,
    });
    caller.post(Operation::CreateEntry, "/api/v1/archive", &body).await?;
    Ok(())
}

pub(super) async fn list<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let path = format!("/api/v1/archive?service={}&sort=accuracy&limit=20", caller.identity()?.service());
    caller.get(Operation::ListEntries, &path).await?;
    Ok(())
}

pub(super) async fn lineage<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let (_, id) = caller.identity()?.draw();
    caller.get(Operation::Lineage, &format!("/api/v1/archive/{id}/lineage")).await?;
    Ok(())
}

pub(super) async fn stats<C: Caller>(caller: &mut C) -> Result<(), Failure> {
    let path = format!("/api/v1/archive/stats?service={}", caller.identity()?.service());
    caller.get(Operation::ArchiveStats, &path).await?;
    Ok(())
}
