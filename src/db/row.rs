//! Rows as structs.

/// Implements `FromRow` by column names; `field: value` sets a field that is not a column.
///
/// `#[derive(FromRow)]` needs sqlx's macros, which compile sqlx, tokio, rustls and 80 more crates a second time, for the
/// compiler.
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
