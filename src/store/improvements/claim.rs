//! Handing out work. Claims that arrive while others are being answered are answered together, so that the workers of a
//! process do not run after each other's locks.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{improvement, improvement_columns};
use crate::domain::improvement::Claimed;
use crate::store::error::Error;
use crate::store::pool::{Store, timed_rows};
use crate::store::writer::Batch;
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// A claim of more than this is a batch of its own.
const JOINED: u32 = 8;

/// Groups of a batch that are under way at a time: a connection each.
const AT_A_TIME: usize = 3;

/// The nth of the queue goes to the nth place. `IS TRUE` leaves only the index in the order of the queue to the planner,
/// whatever it believes of the queue's length (migration 20). The array keeps the planner from running the locking subquery more than
/// once, and from expecting so many that it would read the whole table.
const CLAIM: &str = sql!(ImprovementClaim, "UPDATE dgm_improvements i SET status = 'running', worker = p.worker, lease_token = gen_random_uuid(),
        lease_expires_at = now() + make_interval(secs => least(p.lease, i.max_improvement_time)), heartbeat_at = now(),
        attempts = i.attempts + 1, started_at = now(), completed_at = NULL, progress = 0, progress_message = NULL
     FROM unnest(ARRAY(
        SELECT q.id FROM dgm_improvements q
        WHERE (q.status = 'queued') IS TRUE AND q.available_at <= now() AND ($4::text[] IS NULL OR q.service_name = ANY($4))
        ORDER BY q.priority_rank, q.created_at, q.id FOR UPDATE SKIP LOCKED LIMIT cardinality($1)))
        WITH ORDINALITY AS n (id, place)
     JOIN unnest($1::int[], $2::text[], $3::float8[]) WITH ORDINALITY AS p (request, worker, lease, place) USING (place)
     WHERE i.id = n.id
     RETURNING place, p.request, ",
    improvement_columns!());

/// A worker's wish.
#[derive(Debug)]
pub(in crate::store) struct Wish {
    worker: String,
    services: Option<Vec<String>>,
    max: u32,
    lease_seconds: u32,
}

impl Store {
    /// Hands out at most `max` queued improvements under a lease, the most urgent and oldest first. No two callers get
    /// the same one.
    ///
    /// # Errors
    /// [`Error::Busy`]; the server's.
    pub async fn claim(
        &self,
        worker: &str,
        services: Option<Vec<String>>,
        max: u32,
        lease_seconds: u32,
    ) -> Result<Vec<Claimed>, Error> {
        let wish = Wish { worker: worker.to_owned(), services, max, lease_seconds };
        if max > JOINED {
            return Ok(claim(self, wish.services.as_deref(), &[&wish]).await?.pop().unwrap_or_default());
        }
        self.writers.claims.write(self, wish).await
    }
}

impl Batch for Wish {
    const LABEL: Writer = Writer::Claims;
    const LANES: usize = 1;
    const LARGE: usize = usize::MAX;
    const HANDS_OUT: bool = true;
    type Reply = Vec<Claimed>;

    fn rows(&self) -> usize {
        self.max as usize
    }

    async fn write(store: &Store, batch: &[Self], _: bool) -> Result<Vec<Result<Vec<Claimed>, Error>>, Error> {
        let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, wish) in batch.iter().enumerate() {
            alike.entry(wish.services.as_deref()).or_default().push(index);
        }
        // Each group is committed by itself: what one got stays got when another fails. They hardly meet at the same rows, and
        // one after the other the last would wait for all.
        let mut groups = Vec::with_capacity(alike.len());
        for (services, indices) in alike {
            groups.push(answer(store, services, batch, indices));
        }
        let groups: Vec<_> = stream::iter(groups).buffer_unordered(AT_A_TIME).collect().await;
        let mut replies: Vec<_> = batch.iter().map(|_| Ok(Vec::new())).collect();
        for (index, claimed) in groups.into_iter().flatten() {
            if let Some(reply) = replies.get_mut(index) {
                *reply = claimed;
            }
        }
        Ok(replies)
    }
}

type Answer = Result<Vec<Claimed>, Error>;

/// What those of a batch get that are for the same services.
async fn answer(
    store: &Store,
    services: Option<&[String]>,
    batch: &[Wish],
    indices: Vec<usize>,
) -> Vec<(usize, Answer)> {
    let wishes: Vec<&Wish> = indices.iter().filter_map(|index| batch.get(*index)).collect();
    let each: Vec<_> = match claim(store, services, &wishes).await {
        Ok(claimed) => claimed.into_iter().map(Ok).collect(),
        Err(error) => indices.iter().map(|_| Err(error.again())).collect(),
    };
    indices.into_iter().zip(each).collect()
}

/// What each of the wishes gets, which are for the same services.
async fn claim(store: &Store, services: Option<&[String]>, wishes: &[&Wish]) -> Result<Vec<Vec<Claimed>>, Error> {
    let places = || {
        let numbered = (0_i32..).zip(wishes);
        numbered.flat_map(|(request, wish)| std::iter::repeat_n((request, *wish), wish.max as usize))
    };
    let mut connection = store.acquire_writing().await?;
    let query = sqlx::query(CLAIM)
        .bind(places().map(|(request, _)| request).collect::<Vec<_>>())
        .bind(places().map(|(_, wish)| wish.worker.as_str()).collect::<Vec<_>>())
        .bind(places().map(|(_, wish)| f64::from(wish.lease_seconds)).collect::<Vec<_>>())
        .bind(services)
        .try_map(|row: PgRow| {
            let order: (i64, i32) = (row.try_get("place")?, row.try_get("request")?);
            let lease_token: Uuid = row.try_get("lease_token")?;
            Ok((order, Claimed { lease_token, improvement: improvement(&row)? }))
        })
        .fetch_all(&mut *connection);
    let mut claimed = timed_rows(Statement::ImprovementClaim, query).await?;
    // UPDATE .. RETURNING answers in no order.
    claimed.sort_by_key(|((place, _), _)| *place);
    let mut each = vec![Vec::new(); wishes.len()];
    for ((_, request), one) in claimed {
        if let Some(of) = usize::try_from(request).ok().and_then(|request| each.get_mut(request)) {
            of.push(one);
        }
    }
    Ok(each)
}
