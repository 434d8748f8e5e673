//! Indexes of partitioned tables, built without stopping writers.
//!
//! `CREATE INDEX` on a partitioned table stops all writers of all partitions, and CONCURRENTLY is not allowed there
//! (PostgreSQL, CREATE INDEX). So a migration makes the parent's index alone, `ON ONLY`, which is not valid; what is
//! missing is built here, partition by partition, and with the last one attached the parent's becomes valid. An
//! interruption loses nothing: the next run goes on with the partitions that are left.

use sqlx::FromRow;

use super::step::{is_timeout, may_try_again};
use super::{Error, Session};
use crate::db::quoted;

/// Indexes of partitioned tables that lack some of their partitions', with those partitions. One that is about to be detached
/// needs none. What comes after the name of an index's table says the rest of it.
const MISSING: &str = "
    SELECT quote_ident(x.relname) AS index, split_part(pg_get_indexdef(x.oid), ' INDEX ', 1) AS create,
        substring(pg_get_indexdef(x.oid) FROM ' USING .*$') AS rest, c.oid::regclass::text AS partition,
        left(c.relname || '_' || replace(x.relname, 'idx_' || t.relname || '_', ''), 63) AS child
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid AND x.relkind = 'I' JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_inherits p ON p.inhparent = t.oid AND NOT p.inhdetachpending JOIN pg_class c ON c.oid = p.inhrelid
    WHERE x.relnamespace = current_schema()::regnamespace AND NOT EXISTS (
        SELECT FROM pg_inherits h JOIN pg_index own ON own.indexrelid = h.inhrelid
        WHERE h.inhparent = x.oid AND own.indrelid = c.oid)
    ORDER BY x.relname, c.relname";

#[derive(Debug, FromRow)]
struct Missing {
    index: String,
    create: String,
    rest: String,
    partition: String,
    child: String,
}

impl Session {
    /// Builds what indexes of partitioned tables lack; answers `index on partition` for each.
    pub(super) async fn complete_indexes(&mut self) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        let missing: Vec<Missing> = sqlx::query_as(MISSING).fetch_all(&mut self.connection).await?;
        for Missing { index, create, rest, partition, child } in missing {
            self.drop_if_invalid(&child).await?;
            let child = quoted(&child);
            self.run("SET lock_timeout = '15min'".to_owned()).await?;
            self.run(format!("{create} INDEX CONCURRENTLY IF NOT EXISTS {child} ON {partition}{rest}")).await?;
            self.run("SET lock_timeout = '2s'".to_owned()).await?;
            self.attach(format!("ALTER INDEX {index} ATTACH PARTITION {child}")).await?;
            done.push(format!("{index} on {partition}"));
        }
        Ok(done)
    }

    /// It waits for the queries that use the new index, and others wait behind it.
    async fn attach(&mut self, statement: String) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            let outcome = self.run(statement.clone()).await;
            let timed_out = matches!(&outcome, Err(Error::Database(error)) if is_timeout(error));
            if !timed_out || !may_try_again(attempt).await {
                return outcome;
            }
            attempt += 1;
        }
    }

    /// Names in the statement are the catalogue's own, and quoted.
    pub(super) async fn run(&mut self, statement: String) -> Result<(), Error> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut self.connection).await?;
        Ok(())
    }
}
