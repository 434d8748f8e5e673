//! Events of improvements: reads, the question which improvements have new ones, and the notifications that bring that question forward.
//!
//! A notification is posted after COMMIT by a connection of its own, because NOTIFY in a transaction holds a lock of the whole server
//! until that transaction is durable. Notifications may be lost: what has changed is decided by snapshots (PostgreSQL, 9.26.8
//! "Transaction ID and Snapshot Information Functions"), so a transaction that commits after one with a higher id is not missed.

use sqlx::postgres::{PgListener, PgRow};
use sqlx::{PgConnection, Row as _};

use crate::db::{Database, Error, Kind, in_time, timed, timed_rows};
use crate::domain::improvement::Event;
use crate::telemetry::catalogue::statements::{Statement, sql};

const CHANNEL: &str = "dgm_work";
/// Events in one page of one improvement.
pub const PAGE: usize = 50;
/// Limit of events that one answer considers. With more, it does not say which improvements have changed.
const MAX_EVENTS: i64 = 2_000;

const PAGE_OF: &str = sql!(
    ImprovementEvents,
    "
    SELECT event_id, event, data, occurred_at FROM dgm_improvement_events
    WHERE improvement_id = $1 AND event_id > $2 ORDER BY event_id LIMIT $3"
);

/// A transaction is invisible in a snapshot if it is in its list of running ones or not below its end. Both are exact conditions for the
/// index, so a transaction that stays open for an hour does not make each answer read the events of that hour again.
const POLL: &str = sql!(
    HubPoll,
    "
    SELECT pg_current_snapshot()::text AS snapshot, count(*) AS events, array_agg(DISTINCT n.improvement_id::text) AS improvements
    FROM (
        SELECT e.improvement_id FROM unnest($2::text[]) AS s (name) CROSS JOIN LATERAL (
            SELECT improvement_id FROM dgm_improvement_events
            WHERE service_name = s.name AND transaction_id >= pg_snapshot_xmax($1::pg_snapshot)
            UNION ALL
            SELECT improvement_id FROM dgm_improvement_events
            WHERE service_name = s.name AND transaction_id = ANY(ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))
        ) e LIMIT $3
    ) n"
);

const READ: &str = sql!(
    HubRead,
    "
    SELECT w.place, e.* FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (id, after, place) CROSS JOIN LATERAL (
        SELECT event_id, event, data, occurred_at FROM dgm_improvement_events
        WHERE improvement_id = w.id AND event_id > w.after ORDER BY event_id LIMIT $3
    ) e ORDER BY w.place, e.event_id"
);

const LISTENERS: &str = sql!(
    HubListeners,
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"
);

const NOTIFY: &str = sql!(HubNotify, "SELECT pg_notify($1, $2)");

fn event(row: &PgRow) -> Result<Event, sqlx::Error> {
    Ok(Event {
        event_id: row.try_get("event_id")?,
        event: row.try_get("event")?,
        data: row.try_get("data")?,
        occurred_at: row.try_get("occurred_at")?,
    })
}

/// Events of improvements; cheap to clone.
#[derive(Debug, Clone)]
pub struct EventStore {
    database: Database,
}

impl EventStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// At most [`PAGE`] events of an improvement after `after`, oldest first. Within one improvement ids rise in the order of
    /// commit, since every event is written under the row's lock.
    ///
    /// # Errors
    /// The server's.
    pub async fn page(&self, improvement_id: &str, after: i64) -> Result<Vec<Event>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(PAGE_OF).bind(improvement_id).bind(after).bind(limit());
                let query = query.try_map(|row| event(&row)).fetch_all(&mut *connection);
                timed_rows(Statement::ImprovementEvents, query).await
            })
            .await
    }

    /// A connection that listens.
    ///
    /// # Errors
    /// The server's.
    pub async fn listen(&self) -> Result<Listener, Error> {
        Ok(Listener(self.database.listen(Kind::Hub, CHANNEL).await?))
    }

    /// A connection that notifies.
    ///
    /// # Errors
    /// The server's.
    pub async fn notifier(&self) -> Result<Notifier, Error> {
        Ok(Notifier(in_time(self.database.connect(Kind::Notify)).await?))
    }
}

/// What committed since a snapshot.
#[derive(Debug)]
pub struct Changes {
    /// The snapshot of the answer, from which the next question starts.
    pub snapshot: String,
    /// The improvements that have new events; `None` if there are too many.
    pub improvements: Option<Vec<String>>,
}

/// The listening connection. After an error it must be opened again.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Which improvements of these services have events that the snapshot does not contain.
    ///
    /// # Errors
    /// The server's, and when it does not answer within two seconds.
    pub async fn changes(&mut self, since: &str, services: &[String]) -> Result<Changes, Error> {
        let query = sqlx::query(POLL).bind(since).bind(services).bind(MAX_EVENTS).fetch_one(&mut self.0);
        let row = timed(Statement::HubPoll, in_time(query)).await?;
        let events: i64 = row.try_get("events")?;
        let improvements: Option<Vec<String>> = row.try_get("improvements")?;
        Ok(Changes {
            snapshot: row.try_get("snapshot")?,
            improvements: (events < MAX_EVENTS).then(|| improvements.unwrap_or_default()),
        })
    }

    /// A page of events for each improvement and the event id after which it starts, in the same order.
    ///
    /// # Errors
    /// As [`Self::changes`].
    pub async fn read(&mut self, of: &[(String, i64)]) -> Result<Vec<Vec<Event>>, Error> {
        let (ids, after): (Vec<&str>, Vec<i64>) = of.iter().map(|(id, after)| (id.as_str(), *after)).unzip();
        let query = sqlx::query(READ).bind(ids).bind(after).bind(limit());
        let query = query.try_map(|row: PgRow| Ok((row.try_get::<i64, _>("place")?, event(&row)?)));
        let rows = timed_rows(Statement::HubRead, in_time(query.fetch_all(&mut self.0))).await?;
        let mut pages = vec![Vec::new(); of.len()];
        for (place, event) in rows {
            if let Some(page) = usize::try_from(place - 1).ok().and_then(|place| pages.get_mut(place)) {
                page.push(event);
            }
        }
        Ok(pages)
    }

    /// Waits for notifications of other processes than this one; how many there are.
    ///
    /// # Errors
    /// The server's; also when the connection was lost.
    pub async fn notified(&mut self, this_process: &str) -> Result<u64, Error> {
        loop {
            let first = self.0.try_recv().await?.ok_or(sqlx::Error::WorkerCrashed)?;
            let mut others = u64::from(first.payload() != this_process);
            while let Some(next) = self.0.next_buffered() {
                others += u64::from(next.payload() != this_process);
            }
            if others > 0 {
                return Ok(others);
            }
        }
    }
}

/// The notifying connection. After an error it must be opened again.
#[derive(Debug)]
pub struct Notifier(PgConnection);

impl Notifier {
    /// How many processes listen.
    ///
    /// # Errors
    /// The server's, and when it does not answer within two seconds.
    pub async fn listeners(&mut self) -> Result<i64, Error> {
        let query = sqlx::query_scalar(LISTENERS).bind(Kind::Hub.application_name()).fetch_one(&mut self.0);
        timed(Statement::HubListeners, in_time(query)).await
    }

    /// Notifies every process that listens.
    ///
    /// # Errors
    /// As [`Self::listeners`].
    pub async fn notify(&mut self, this_process: &str) -> Result<(), Error> {
        let query = sqlx::query(NOTIFY).bind(CHANNEL).bind(this_process).execute(&mut self.0);
        timed(Statement::HubNotify, in_time(query)).await.map(drop)
    }
}

fn limit() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}
