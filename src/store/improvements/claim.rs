//! Leasing queued improvements to workers. Claims that arrive while others are answered share a statement, so that the
//! workers of a process do not wait for each other's locks.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{improvement, improvement_columns};
use crate::batch::Batch;
use crate::db::{Database, Error, timed_rows};
use crate::domain::improvement::Claimed;
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// Statements of a batch that are under way at a time: a connection each.
const AT_A_TIME: usize = 3;

/// The nth of a group's part of the queue goes to the group's nth place. `IS TRUE` leaves only the index in the order of the queue to
/// the planner, whatever it believes of the queue's length (migration 20). The arrays and `MATERIALIZED` keep the planner from
/// running the locking subquery more than once for a group, and from expecting so many that it would read the whole table.
const CLAIM: &str = sql!(ImprovementClaim, "WITH handed AS MATERIALIZED (
        SELECT g.before + n.nth AS place, n.id
        FROM unnest($4::jsonb[], $5::bigint[], $6::bigint[]) AS g (services, most, before)
        CROSS JOIN LATERAL unnest(ARRAY(
            SELECT q.id FROM dgm_improvements q
            WHERE (q.status = 'queued') IS TRUE AND q.available_at <= now() AND (g.services IS NULL OR g.services ? q.service_name)
            ORDER BY q.priority_rank, q.created_at, q.id FOR UPDATE SKIP LOCKED LIMIT g.most))
            WITH ORDINALITY AS n (id, nth))
     UPDATE dgm_improvements i SET status = 'running', worker = p.worker, lease_token = gen_random_uuid(),
        lease_expires_at = now() + make_interval(secs => least(p.lease, i.max_improvement_time)), heartbeat_at = now(),
        attempts = i.attempts + 1, started_at = now(), completed_at = NULL, progress = 0, progress_message = NULL
     FROM handed
     JOIN unnest($1::int[], $2::text[], $3::float8[]) WITH ORDINALITY AS p (request, worker, lease, place) USING (place)
     WHERE i.id = handed.id
     RETURNING place, p.request, ",
    improvement_columns!());

/// A worker's request for leases.
#[derive(Debug)]
pub(super) struct LeaseRequest {
    pub(super) worker: String,
    pub(super) services: Option<Vec<String>>,
    pub(super) max: u32,
    pub(super) lease_seconds: u32,
}

impl Batch for LeaseRequest {
    const LABEL: Writer = Writer::Claims;
    const WORKERS: usize = 1;
    const FULL: usize = usize::MAX;
    const AT_MOST_ONCE: bool = true;
    type Context = Database;
    type Reply = Vec<Claimed>;

    fn rows(&self) -> usize {
        self.max as usize
    }

    async fn write(database: &Database, batch: &[Self], _: bool) -> Result<Vec<Result<Vec<Claimed>, Error>>, Error> {
        let mut alike: BTreeMap<_, Vec<(usize, &Self)>> = BTreeMap::new();
        for (index, request) in batch.iter().enumerate() {
            alike.entry(request.services.as_deref()).or_default().push((index, request));
        }
        // Groups that are for one service each never want the same rows: one statement serves them all. The others are
        // committed each by itself, since one statement would hand a row that two of them want to both and give it to one.
        let (apart, others): (Vec<Group<'_>>, Vec<Group<'_>>) =
            alike.into_iter().partition(|(services, _)| services.is_some_and(|services| services.len() == 1));
        let statements = std::iter::once(apart).chain(others.into_iter().map(|group| vec![group]));
        let mut answers = Vec::new();
        for groups in statements.filter(|groups| !groups.is_empty()) {
            answers.push(answer_groups(database, groups));
        }
        let answers: Vec<_> = stream::iter(answers).buffer_unordered(AT_A_TIME).collect().await;
        let mut replies: Vec<_> = batch.iter().map(|_| Ok(Vec::new())).collect();
        for (index, claimed) in answers.into_iter().flatten() {
            if let Some(reply) = replies.get_mut(index) {
                *reply = claimed;
            }
        }
        Ok(replies)
    }
}

/// Requests for the same services, with their places in the batch.
type Group<'a> = (Option<&'a [String]>, Vec<(usize, &'a LeaseRequest)>);

type Answer = Result<Vec<Claimed>, Error>;

/// The leases of one request, by a statement of its own.
pub(super) async fn lease_alone(database: &Database, request: &LeaseRequest) -> Result<Vec<Claimed>, Error> {
    let group = (request.services.as_deref(), vec![(0, request)]);
    Ok(claim_groups(database, &[group]).await?.pop().unwrap_or_default())
}

/// The answers for some groups, from one statement.
async fn answer_groups(database: &Database, groups: Vec<Group<'_>>) -> Vec<(usize, Answer)> {
    let indices = groups.iter().flat_map(|(_, requests)| requests).map(|(index, _)| *index);
    match claim_groups(database, &groups).await {
        Ok(claimed) => indices.zip(claimed.into_iter().map(Ok)).collect(),
        Err(error) => indices.map(|index| (index, Err(error.duplicate()))).collect(),
    }
}

/// The leases of each request, group by group.
async fn claim_groups(database: &Database, groups: &[Group<'_>]) -> Result<Vec<Vec<Claimed>>, Error> {
    let requests: Vec<&LeaseRequest> =
        groups.iter().flat_map(|(_, requests)| requests).map(|(_, request)| *request).collect();
    let places = || {
        let numbered = (0_i32..).zip(&requests);
        numbered.flat_map(|(number, request)| std::iter::repeat_n((number, *request), request.max as usize))
    };
    let size = |(_, requests): &Group<'_>| requests.iter().map(|(_, request)| i64::from(request.max)).sum::<i64>();
    let sizes: Vec<i64> = groups.iter().map(size).collect();
    let before: Vec<i64> = sizes.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size))).collect();
    let mut connection = database.writing.acquire().await?;
    let query = sqlx::query(CLAIM)
        .bind(places().map(|(number, _)| number).collect::<Vec<_>>())
        .bind(places().map(|(_, request)| request.worker.as_str()).collect::<Vec<_>>())
        .bind(places().map(|(_, request)| f64::from(request.lease_seconds)).collect::<Vec<_>>())
        .bind(groups.iter().map(|(services, _)| services.map(Json)).collect::<Vec<_>>())
        .bind(sizes)
        .bind(before)
        .try_map(|row: PgRow| {
            let order: (i64, i32) = (row.try_get("place")?, row.try_get("request")?);
            let lease_token: Uuid = row.try_get("lease_token")?;
            Ok((order, Claimed { lease_token, improvement: improvement(&row)? }))
        })
        .fetch_all(&mut *connection);
    let mut claimed = timed_rows(Statement::ImprovementClaim, query).await?;
    // UPDATE .. RETURNING answers in no order.
    claimed.sort_by_key(|((place, _), _)| *place);
    let mut each = vec![Vec::new(); requests.len()];
    for ((_, request), one) in claimed {
        if let Some(of) = usize::try_from(request).ok().and_then(|request| each.get_mut(request)) {
            of.push(one);
        }
    }
    Ok(each)
}
