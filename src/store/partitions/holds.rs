//! Holds: months that retention keeps although they are older than what is kept. The database's clock decides.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use super::PartitionStore;
use crate::db::{Error, retrying, timed};
use crate::telemetry::catalogue::statements::{Statement, sql};

/// A hold is never shortened: another import of the same month may still need it.
const HOLD: &str = sql!(
    PartitionEnsure,
    "INSERT INTO dgm_partition_holds AS old (month, held_until) VALUES ($1, clock_timestamp() + make_interval(days => $2))
     ON CONFLICT (month) DO UPDATE SET held_until = greatest(old.held_until, excluded.held_until)
     RETURNING held_until"
);
const RELEASE: &str = sql!(
    PartitionEnsure,
    "UPDATE dgm_partition_holds SET held_until = clock_timestamp() WHERE month = $1 AND held_until > clock_timestamp()"
);
const HELD_UNTIL: &str = sql!(
    PartitionStatus,
    "SELECT held_until FROM dgm_partition_holds WHERE month = $1 AND held_until > clock_timestamp()"
);

/// When the hold of a month ends; `None` without one.
pub(super) async fn held_until(
    connection: &mut PgConnection,
    month: NaiveDate,
) -> Result<Option<DateTime<Utc>>, Error> {
    let query = sqlx::query_scalar(HELD_UNTIL).bind(month).fetch_optional(connection);
    timed(Statement::PartitionStatus, query).await
}

impl PartitionStore {
    /// Holds a month for some days from now; answers when the hold ends, which may be later.
    ///
    /// # Errors
    /// The server's.
    pub async fn hold(&self, month: NaiveDate, days: u16) -> Result<DateTime<Utc>, Error> {
        retrying(|| async {
            let mut connection = self.database.general.acquire().await?;
            let query = sqlx::query_scalar(HOLD).bind(month).bind(i32::from(days)).fetch_one(&mut *connection);
            timed(Statement::PartitionEnsure, query).await
        })
        .await
    }

    /// Ends the hold of a month; `false`: it has none.
    ///
    /// # Errors
    /// The server's.
    pub async fn release(&self, month: NaiveDate) -> Result<bool, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(RELEASE).bind(month).execute(&mut *connection);
        Ok(timed(Statement::PartitionEnsure, query).await?.rows_affected() > 0)
    }

    /// When the hold of a month ends; `None` without one.
    ///
    /// # Errors
    /// The server's.
    pub async fn held_until(&self, month: NaiveDate) -> Result<Option<DateTime<Utc>>, Error> {
        self.database.general.read(|mut connection| async move { held_until(&mut connection, month).await }).await
    }
}
