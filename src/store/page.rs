//! Rows of a page, as many as fit into its bytes.

use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row as _};

use crate::db::{Error, timed_rows};
use crate::domain::page::{MAX_BYTES, Rows};
use crate::telemetry::catalogue::statements::Statement;

/// Runs a statement that returns the rows of a page; stops when they have [`MAX_BYTES`], and always returns the first one. The
/// connection of a page that was stopped is closed: another user of it would have to read the rest.
///
/// # Errors
/// The server's.
pub(super) async fn timed_page<T>(
    statement: Statement,
    mut connection: PoolConnection<Postgres>,
    query: Query<'_, Postgres, PgArguments>,
    decode: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Rows<T>, Error> {
    let (mut bytes, mut cut) = (0, false);
    let items = timed_rows(statement, async {
        let mut items = Vec::new();
        let mut rows = query.fetch(&mut *connection);
        // After the last one that fits none is read, which takes memory whatever it is.
        while !cut && let Some(row) = rows.try_next().await? {
            let size = bytes_of(&row)?;
            if items.is_empty() || bytes + size <= MAX_BYTES {
                items.push(decode(&row)?);
                bytes += size;
                cut = bytes >= MAX_BYTES;
            } else {
                cut = true;
            }
        }
        Ok(items)
    })
    .await?;
    if cut {
        // At once, with the memory of the last row.
        drop(connection.detach());
    }
    Ok(Rows { items, bytes, cut })
}

fn bytes_of(row: &PgRow) -> Result<usize, sqlx::Error> {
    let bytes = |index| Ok(row.try_get_raw(index)?.as_bytes().map_or(0, <[u8]>::len));
    (0..row.len()).map(bytes).sum()
}
