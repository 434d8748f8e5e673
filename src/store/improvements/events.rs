//! The event log of improvements.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::ImprovementStore;
use crate::db::{Error, timed_rows};
use crate::domain::improvement::Event;
use crate::telemetry::catalogue::statements::{Statement, sql};

const EVENTS: &str = sql!(
    ImprovementEvents,
    "
    SELECT event_id, event, data, occurred_at FROM dgm_improvement_events
    WHERE improvement_id = $1 AND event_id > $2 ORDER BY event_id LIMIT 100"
);

impl ImprovementStore {
    /// At most 100 events of an improvement after `after`, oldest first. Within one improvement ids rise in the order of
    /// commit, since every event is written under the row's lock.
    ///
    /// # Errors
    /// The server's.
    pub async fn events(&self, id: &str, after: i64) -> Result<Vec<Event>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(EVENTS)
                    .bind(id)
                    .bind(after)
                    .try_map(|row: PgRow| {
                        Ok(Event {
                            event_id: row.try_get("event_id")?,
                            event: row.try_get("event")?,
                            data: row.try_get("data")?,
                            occurred_at: row.try_get("occurred_at")?,
                        })
                    })
                    .fetch_all(&mut *connection);
                timed_rows(Statement::ImprovementEvents, query).await
            })
            .await
    }
}
