//! The change feed of the archive and of API tokens: a connection of its own that listens, and asks for what committed since it last asked.
//!
//! Notifications carry nothing and may be lost: they only say that it is worth asking now. What is asked for is decided
//! by snapshots (PostgreSQL, 9.26.8 "Transaction ID and Snapshot Information Functions"), so a transaction that commits
//! late, after one with a higher id was seen, is not passed over.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::db::{Database, Error, Kind, in_time, timed};
use crate::telemetry::catalogue::database::DB_UP;
use crate::telemetry::catalogue::statements::{Statement, sql};

const CHANNEL: &str = "dgm_archive";
/// Limit of changes in one answer. With more, the older ones count as unknown.
pub const MAX_CHANGES: i64 = 100_000;

/// The generation names the database that versions and transactions are counted in: another cluster, another database
/// of it, another timeline (a restore or a failover may have lost commits), a truncated archive are other generations. So is
/// each start of the server: two restores without an archive of their own get the same timeline.
const POLL: &str = sql!(
    FeedPoll,
    "
    SELECT pg_current_snapshot()::text AS snapshot, f.pruned_before::text::bigint AS pruned_before,
        f.token_state,
        pg_snapshot_xmin($1::pg_snapshot)::text::bigint AS since, c.lag_seconds,
        hashtextextended(concat_ws('/', f.epoch, s.system_identifier, d.oid,
            left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), extract(epoch FROM pg_postmaster_start_time())), 0) AS generation,
        c.ids, c.versions, c.transactions
    FROM dgm_archive_feed f
    CROSS JOIN pg_control_system() s
    JOIN pg_database d ON d.datname = current_database()
    CROSS JOIN LATERAL (
        SELECT array_agg(archive_entry_id::text) AS ids, array_agg(version) AS versions,
            array_agg(transaction_id::text::bigint) AS transactions,
            extract(epoch FROM clock_timestamp() - min(changed_at))::float8 AS lag_seconds
        FROM (
            SELECT archive_entry_id, version, transaction_id, changed_at FROM dgm_archive_changes
            WHERE version > 1 AND transaction_id >= pg_snapshot_xmin($1::pg_snapshot)
              AND NOT pg_visible_in_snapshot(transaction_id, $1::pg_snapshot)
            ORDER BY transaction_id DESC LIMIT $2
        ) newest
    ) c"
);

/// `pruned_before` tells readers that were away for so long that they missed something. In the order of ids, which is that of time, up
/// to the first that is young enough: what stays is not read.
const PRUNE: &str = sql!(
    FeedPrune,
    "
    WITH gone AS (
        DELETE FROM dgm_archive_changes WHERE change_id < coalesce((
            SELECT change_id FROM dgm_archive_changes WHERE changed_at >= now() - interval '1 day' ORDER BY change_id LIMIT 1
        ), 9223372036854775807) RETURNING transaction_id
    ), newest AS (SELECT count(*) AS count, max(transaction_id::text::bigint) AS transaction FROM gone
    ), told AS (
        UPDATE dgm_archive_feed f SET pruned_before = (n.transaction + 1)::text::xid8 FROM newest n
        WHERE n.transaction >= f.pruned_before::text::bigint
    ) SELECT count FROM newest"
);

/// A change that makes older copies of an entry worthless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which entry.
    pub archive_entry_id: String,
    /// The least version that a copy must have.
    pub version: i64,
    /// The transaction that made it.
    pub transaction: i64,
}

/// What committed since the poll before.
#[derive(Debug, Clone)]
pub struct Polled {
    /// The state of the database that this is as of; the next poll starts from it.
    pub snapshot: String,
    /// Which database's versions these are.
    pub generation: i64,
    /// Changes by transactions below this one may be missing from this answer and those before it.
    pub complete_from: i64,
    /// The state of the API tokens: another one after every change of them.
    pub token_state: Uuid,
    /// How long ago the oldest of the changes was made.
    pub lag_seconds: Option<f64>,
    /// The newest of them, newest transaction first.
    pub changes: Vec<Change>,
}

/// The listening connection.
#[derive(Debug)]
pub struct Feed {
    listener: PgListener,
}

/// The change feed of the archive; cheap to clone.
#[derive(Debug, Clone)]
pub struct ChangeStore {
    database: Database,
}

impl ChangeStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Opens the feed.
    ///
    /// # Errors
    /// The server's.
    pub async fn open(&self) -> Result<Feed, Error> {
        let opened = match self.database.listen(Kind::ChangeFeed, CHANNEL).await {
            Err(error) => Err(self.database.explained(error).await),
            Ok(listener) => Ok(Feed { listener }),
        };
        let up = opened.as_ref().map_or_else(Error::is_from_running_server, |_| true);
        DB_UP.set((), if up { 1.0 } else { 0.0 });
        opened
    }

    /// Deletes changes from more than a day ago and returns their number.
    ///
    /// # Errors
    /// The server's.
    pub async fn prune(&self) -> Result<i64, Error> {
        let mut connection = self.database.general.acquire().await?;
        timed(Statement::FeedPrune, sqlx::query_scalar(PRUNE).fetch_one(&mut *connection)).await
    }
}

impl Feed {
    /// What committed since `since`.
    ///
    /// # Errors
    /// The server's, and when it does not answer within two seconds: the feed must then be opened anew.
    pub async fn poll(&mut self, since: &str) -> Result<Polled, Error> {
        let query = sqlx::query(POLL).bind(since).bind(MAX_CHANGES).fetch_one(&mut self.listener);
        let row = timed(Statement::FeedPoll, async {
            let answer = in_time(query).await;
            // A connection that broke says nothing of the server yet: opening the next one does, soon.
            if matches!(answer, Err(sqlx::Error::PoolTimedOut)) {
                DB_UP.set((), 0.0);
            }
            answer
        })
        .await?;
        DB_UP.set((), 1.0);
        let (ids, versions, transactions) = (
            row.try_get::<Option<Vec<String>>, _>("ids")?.unwrap_or_default(),
            row.try_get::<Option<Vec<i64>>, _>("versions")?.unwrap_or_default(),
            row.try_get::<Option<Vec<i64>>, _>("transactions")?.unwrap_or_default(),
        );
        let pruned_before: i64 = row.try_get("pruned_before")?;
        let since: i64 = row.try_get("since")?;
        // With as many as may be, older ones may have been left out; those of the oldest's own transaction, too.
        let cut_off = usize::try_from(MAX_CHANGES).is_ok_and(|most| ids.len() >= most);
        let oldest = transactions.last().filter(|_| cut_off).map_or(0, |oldest| oldest.saturating_add(1));
        // Pruned while this reader was away: only then was something missed.
        let missed = if pruned_before > since { pruned_before } else { 0 };
        let changes = ids
            .into_iter()
            .zip(versions)
            .zip(transactions)
            .map(|((archive_entry_id, version), transaction)| Change { archive_entry_id, version, transaction });
        Ok(Polled {
            snapshot: row.try_get("snapshot")?,
            generation: row.try_get("generation")?,
            complete_from: oldest.max(missed),
            token_state: row.try_get("token_state")?,
            lag_seconds: row.try_get("lag_seconds")?,
            changes: changes.collect(),
        })
    }

    /// Waits until something changed, at most this long.
    ///
    /// # Errors
    /// The server's; also when the connection was lost, for then messages may have been lost with it.
    pub async fn wait(&mut self, longest: Duration) -> Result<(), Error> {
        match tokio::time::timeout(longest, self.listener.try_recv()).await {
            Ok(Ok(None)) => return Err(sqlx::Error::WorkerCrashed.into()),
            Ok(outcome) => outcome.map(drop)?,
            Err(_) => {}
        }
        // One question answers them all.
        while self.listener.next_buffered().is_some() {}
        Ok(())
    }
}
