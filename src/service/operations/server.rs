//! PostgreSQL's own statistics, as metrics.

use std::time::{Duration, Instant};

use super::OperationsService;
use crate::db;
use crate::service::error::Error;
use crate::store::maintenance::{Activity, Replication, Server, StatementTotals, Totals, Visibility};
use crate::telemetry::catalogue::server::{
    ArchiveOutcome, BlockSource, DB_LOCKS_WAITING, DB_OLDEST_TRANSACTION, DB_SERVER_BLOCKS, DB_SERVER_CONNECTIONS,
    DB_SERVER_CONNECTIONS_MAX, DB_SERVER_DEADLOCKS, DB_SERVER_ROWS, DB_SERVER_STATEMENT_BLOCKS_READ,
    DB_SERVER_STATEMENT_CALLS, DB_SERVER_STATEMENT_ROWS, DB_SERVER_STATEMENT_SECONDS, DB_SERVER_TEMPORARY_BYTES,
    DB_SERVER_TRANSACTIONS, DB_SIZE, DB_SLOT_WAL, DB_SLOTS, DB_STANDBY_LAG, DB_STANDBYS, DB_STANDBYS_EXPECTED,
    DB_STATISTICS_VISIBLE, DB_WAL_LAST_ARCHIVED, DB_WAL_MAX, DB_WAL_SEGMENTS_ARCHIVED, RowChange, SessionState,
    SlotState, TransactionOutcome,
};
use crate::telemetry::catalogue::statements::Statement;
use crate::telemetry::catalogue::{figure, unix_seconds};
use crate::telemetry::theirs::Theirs;

/// Time between two measurements of the database's size, which reads the size of every file: a hundred thousand files for a
/// hundred terabytes.
const SIZE_INTERVAL: Duration = Duration::from_mins(10);

/// State of the previous measurement.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) counters: Theirs,
    pub(super) nodes: Theirs,
    sized: Option<Instant>,
    /// The most standbys that were connected at the same time.
    most_standbys: i64,
}

impl OperationsService {
    /// What the role of this service may see of the server.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn visibility(&self) -> Result<Visibility, Error> {
        Ok(self.maintenance.server().await?.visibility().await?)
    }

    /// Has the server keep statistics of statements; this role must be allowed to.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then there are none.
    pub async fn keep_statement_statistics(&self) -> Result<(), Error> {
        Ok(self.maintenance.server().await?.keep_statements().await?)
    }

    /// Publishes the server's statistics and returns the first error. Statistics that this role may not see are not an error.
    pub(super) async fn publish_server(&self, previous: &mut Snapshot) -> Result<(), Error> {
        let mut server = self.maintenance.server().await?;
        let parts = [
            server.activity().await.map(|activity| observe_activity(&activity)),
            server.totals().await.map(|totals| observe_totals(&totals, &mut previous.counters)),
            server.replication().await.map(|replication| {
                previous.most_standbys = previous.most_standbys.max(replication.standbys);
                let expected = if self.standbys == 0 { previous.most_standbys } else { self.standbys.into() };
                observe_replication(&replication, expected);
            }),
            server.statements().await.map(|statements| {
                if let Some(statements) = statements {
                    observe_statements(&statements, &mut previous.counters);
                }
            }),
            observe_size(&mut server, &mut previous.sized).await,
        ];
        let told = parts.into_iter().filter(|part| !part.as_ref().is_err_and(db::Error::is_not_visible));
        Ok(told.collect::<Result<(), _>>()?)
    }
}

fn observe_activity(activity: &Activity) {
    let known = [
        (SessionState::Active, activity.active),
        (SessionState::Idle, activity.idle),
        (SessionState::IdleInTransaction, activity.idle_in_transaction),
    ];
    for (state, count) in known {
        DB_SERVER_CONNECTIONS.set((state,), figure(count));
    }
    let other = activity.connections - known.iter().map(|(_, count)| count).sum::<i64>();
    DB_SERVER_CONNECTIONS.set((SessionState::Other,), figure(other));
    DB_SERVER_CONNECTIONS_MAX.set((), figure(activity.most_connections));
    DB_LOCKS_WAITING.set((), figure(activity.waiting));
    DB_OLDEST_TRANSACTION.set((), activity.oldest_transaction.map_or(0.0, unix_seconds));
}

/// A lag is that of all standbys, or not known: the missing one is the one that matters.
fn observe_replication(replication: &Replication, expected: i64) {
    let Replication { standbys, .. } = *replication;
    let is_known = replication.sees_all && standbys > 0 && standbys >= expected;
    DB_STATISTICS_VISIBLE.set((), if replication.sees_all { 1.0 } else { 0.0 });
    DB_STANDBYS.set((), figure(standbys));
    DB_STANDBYS_EXPECTED.set((), figure(expected));
    DB_STANDBY_LAG.set((), if is_known { replication.lag.unwrap_or(0.0) } else { f64::NAN });
    let slots = [
        (SlotState::Active, replication.active_slots),
        (SlotState::Inactive, replication.inactive_slots),
        (SlotState::Lost, replication.lost_slots),
    ];
    for (state, count) in slots {
        DB_SLOTS.set((state,), figure(count));
    }
    DB_SLOT_WAL.set((), figure(replication.kept_by_slots));
    DB_WAL_MAX.set((), figure(replication.max_wal));
}

fn observe_totals(totals: &Totals, theirs: &mut Theirs) {
    let server = totals.server.as_str();
    theirs.retain(|teller| teller == server);
    let ended =
        [(TransactionOutcome::Committed, totals.committed), (TransactionOutcome::RolledBack, totals.rolled_back)];
    for (outcome, count) in ended {
        theirs.count(server, &DB_SERVER_TRANSACTIONS, (outcome,), count.unsigned_abs());
    }
    let written = [
        (RowChange::Inserted, totals.inserted),
        (RowChange::Updated, totals.updated),
        (RowChange::Deleted, totals.deleted),
    ];
    for (change, count) in written {
        theirs.count(server, &DB_SERVER_ROWS, (change,), count.unsigned_abs());
    }
    theirs.count(server, &DB_SERVER_DEADLOCKS, (), totals.deadlocks.unsigned_abs());
    theirs.count(server, &DB_SERVER_TEMPORARY_BYTES, (), totals.temporary_bytes.unsigned_abs());
    for (source, count) in [(BlockSource::Cache, totals.blocks_in_cache), (BlockSource::Disk, totals.blocks_from_disk)]
    {
        theirs.count(server, &DB_SERVER_BLOCKS, (source,), count.unsigned_abs());
    }
    for (outcome, count) in
        [(ArchiveOutcome::Archived, totals.archived), (ArchiveOutcome::Failed, totals.failed_to_archive)]
    {
        theirs.count(server, &DB_WAL_SEGMENTS_ARCHIVED, (outcome,), count.unsigned_abs());
    }
    DB_WAL_LAST_ARCHIVED.set((), totals.last_archived.map_or(0.0, unix_seconds));
}

/// A statement that is not there has not been called yet: its first call then counts.
fn observe_statements(statements: &[StatementTotals], theirs: &mut Theirs) {
    let Some(server) = statements.first().map(|totals| totals.server.as_str()) else { return };
    for statement in Statement::ALL.iter().copied() {
        let found = statements.iter().find(|totals| totals.name.as_deref() == Some(statement.as_str()));
        let of = |count: fn(&StatementTotals) -> i64| found.map_or(0, |totals| count(totals).unsigned_abs());
        theirs.count(server, &DB_SERVER_STATEMENT_CALLS, (statement,), of(|totals| totals.calls));
        theirs.count(server, &DB_SERVER_STATEMENT_ROWS, (statement,), of(|totals| totals.rows));
        theirs.count(server, &DB_SERVER_STATEMENT_BLOCKS_READ, (statement,), of(|totals| totals.blocks_read));
        let microseconds = of(|totals| totals.microseconds);
        let risen = theirs.risen(server, &DB_SERVER_STATEMENT_SECONDS, (statement,), microseconds);
        DB_SERVER_STATEMENT_SECONDS.add((statement,), Duration::from_micros(risen));
    }
}

async fn observe_size(server: &mut Server, sized: &mut Option<Instant>) -> Result<(), db::Error> {
    if sized.is_none_or(|at| at.elapsed() >= SIZE_INTERVAL) {
        DB_SIZE.set((), figure(server.size().await?));
        *sized = Some(Instant::now());
    }
    Ok(())
}
