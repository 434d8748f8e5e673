//! The only home of SQL against the service's own database.

pub mod archive;
pub mod artifacts;
pub mod bucket;
mod connections;
pub mod error;
pub mod feed;
mod follow;
pub mod forget;
pub mod improvements;
pub mod integrity;
pub mod jobs;
pub mod migrate;
pub mod partitions;
pub mod pool;
mod replica;
pub mod retention;
pub mod samples;
pub mod server;
pub mod tokens;
pub mod upkeep;
mod writer;

/// Implements `FromRow` by column names; `field: value` sets what is not a column.
///
/// `#[derive(FromRow)]` needs sqlx's macros, which compile sqlx, tokio, rustls and 80 more crates a second time, for the compiler.
macro_rules! from_row {
    ($row:ident { $($column:ident),* $(,)? } $(, $field:ident: $value:expr)*) => {
        impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for $row {
            fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($column: row.try_get(stringify!($column))?,)* $($field: $value,)* })
            }
        }
    };
}
pub(crate) use from_row;

/// A name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
