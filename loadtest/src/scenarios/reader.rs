//! A client that looks: entries by popularity, lists, lineages, and parents for the next attempt.

use std::sync::Arc;

use goose::prelude::*;
use rand::RngExt as _;
use reqwest::header::IF_NONE_MATCH;
use serde_json::json;

use crate::plan::Plan;
use crate::session::{get, post, send, session};

const ENTRY: &str = "/api/v1/archive/{id}";
const LIST: &str = "/api/v1/archive";
const LINEAGE: &str = "/api/v1/archive/{id}/lineage";
const SELECT: &str = "/api/v1/archive:select-parents";

pub(super) fn scenario(plan: &Arc<Plan>) -> Result<Scenario, GooseError> {
    Ok(scenario!("reader")
        .register_transaction(super::start(plan))
        .register_transaction(transaction!(read).set_name("read").set_weight(16)?)
        .register_transaction(transaction!(revalidate).set_name("revalidate").set_weight(4)?)
        .register_transaction(transaction!(list).set_name("list"))
        .register_transaction(transaction!(lineage).set_name("lineage"))
        .register_transaction(transaction!(select_parents).set_name("select parents")))
}

/// Draws an entry: its rank and its id.
fn draw(user: &mut GooseUser) -> Result<(usize, String), Box<TransactionError>> {
    let session = session(user)?;
    let rank = session.plan.draw(&mut session.rng);
    Ok((rank, session.plan.ids[rank].clone()))
}

async fn read(user: &mut GooseUser) -> TransactionResult {
    let (rank, id) = draw(user)?;
    let answer = get(user, ENTRY, &format!("/api/v1/archive/{id}")).await?;
    session(user)?.remember(rank, answer.etag);
    Ok(())
}

/// Asks whether the copy at hand is still good; without one, reads.
async fn revalidate(user: &mut GooseUser) -> TransactionResult {
    let (rank, id) = draw(user)?;
    let mut request = user.get_request_builder(&GooseMethod::Get, &format!("/api/v1/archive/{id}"))?;
    let known = session(user)?.etag(rank);
    let conditional = known.is_some();
    if let Some(etag) = known {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let answer = send(user, ENTRY, request, conditional).await?;
    session(user)?.remember(rank, answer.etag);
    Ok(())
}

async fn list(user: &mut GooseUser) -> TransactionResult {
    let path = format!("/api/v1/archive?service={}&limit=20", session(user)?.service());
    get(user, LIST, &path).await?;
    Ok(())
}

async fn lineage(user: &mut GooseUser) -> TransactionResult {
    let (_, id) = draw(user)?;
    get(user, LINEAGE, &format!("/api/v1/archive/{id}/lineage")).await?;
    Ok(())
}

async fn select_parents(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let seed: u32 = session.rng.random();
    let body = json!({"service_name": session.service(), "n": 2, "seed": seed});
    post(user, SELECT, SELECT, &body).await?;
    Ok(())
}
