//! Reading all of a table that a partition became.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::PartitionStore;
use crate::db::{Error, quoted, timed, timed_rows};
use crate::domain::contents::Contents;
use crate::domain::partition::{LastRows, Partition};
use crate::domain::sample::Sample;
use crate::telemetry::catalogue::statements::{Statement, sql};

/// By series, so that equal values lie together: a file in this order is smaller, and read by series quicker. The planner is
/// told that all rows will be fetched.
const OPEN: &str = concat!(
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL cursor_tuple_fraction = 1; ",
    sql!(
        PartitionRead,
        "DECLARE samples NO SCROLL CURSOR FOR
    SELECT id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at
    FROM {} ORDER BY service_name, metric_type, measurement_timestamp, id"
    )
);

/// No limit for one statement: the first piece takes the sorting of all. Whoever stops waiting closes the connection, and
/// the server notices.
const UNLIMITED: Duration = Duration::ZERO;

type Row = (Uuid, String, String, f64, DateTime<Utc>, Option<String>, DateTime<Utc>);

/// The digest of [`Contents`], computed by the server. Its result is a text of 256 binary digits.
const CONTENTS: &str = sql!(
    PartitionRead,
    "SELECT count(*), coalesce(bit_xor(('x' || encode(sha256(record_send(ROW(id, service_name::text, metric_type::text, metric_value,
        measurement_timestamp, archive_entry_id::text, created_at))), 'hex'))::bit(256)), 0::bit(256))::text FROM {}"
);

/// Reads a table in pieces, as it is at one moment.
#[derive(Debug)]
pub struct SampleReader {
    connection: PgConnection,
}

impl PartitionStore {
    /// What is in a table that was detached.
    ///
    /// # Errors
    /// The server's.
    pub async fn contents(&self, partition: &Partition) -> Result<Contents, Error> {
        let mut connection = self.connect_for_retention(UNLIMITED).await?;
        let statement = CONTENTS.replace("{}", &quoted(&partition.name));
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_one(&mut connection);
        let (rows, bits): (i64, String) = timed(Statement::PartitionRead, query).await?;
        let _ = connection.close().await;
        let mut contents = Contents { rows: rows.unsigned_abs(), ..Contents::default() };
        for (byte, start) in contents.digest.iter_mut().zip((0..bits.len()).step_by(8)) {
            let digits = bits.get(start..start + 8).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 2).map_err(|error| sqlx::Error::Decode(error.into()))?;
        }
        Ok(contents)
    }

    /// The newest rows of a partition. No index serves it: it reads the table.
    ///
    /// # Errors
    /// The server's.
    pub async fn last_rows(&self, partition: &Partition) -> Result<LastRows, Error> {
        let mut connection = self.connect_for_retention(UNLIMITED).await?;
        let statement = format!(
            sql!(PartitionRead, "SELECT max(created_at), max(measurement_timestamp) FROM {}"),
            quoted(&partition.name)
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_one(&mut connection);
        let (written, measured) = timed(Statement::PartitionRead, query).await?;
        let _ = connection.close().await;
        Ok(LastRows { written, measured })
    }

    /// Begins to read a table that was detached.
    ///
    /// # Errors
    /// The server's.
    pub async fn read_detached(&self, partition: &Partition) -> Result<SampleReader, Error> {
        let mut connection = self.connect_for_retention(UNLIMITED).await?;
        let statement = OPEN.replace("{}", &quoted(&partition.name));
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection);
        timed(Statement::PartitionRead, query).await?;
        Ok(SampleReader { connection })
    }
}

impl SampleReader {
    /// The next rows, at most `most`; none at the end.
    ///
    /// # Errors
    /// The server's.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Sample>, Error> {
        let query = sqlx::query_as(sqlx::AssertSqlSafe(format!(sql!(PartitionRead, "FETCH {} FROM samples"), most)));
        let rows: Vec<Row> = timed_rows(Statement::PartitionRead, query.fetch_all(&mut self.connection)).await?;
        Ok(rows.into_iter().map(sample).collect())
    }
}

fn sample(row: Row) -> Sample {
    let (id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at) = row;
    Sample { id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at }
}
