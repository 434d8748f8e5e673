//! Statements in the tests' own process. A psql for each would cost more than most statements do.

use std::str::FromStr as _;
use std::sync::LazyLock;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, ValueRef as _};

static NEUTRAL: LazyLock<String> = LazyLock::new(|| {
    let statements = super::hostile::NEUTRAL.iter().map(|(name, value)| format!("SET {name} = '{value}';"));
    statements.collect::<Vec<_>>().concat()
});

/// What the server answers to statements, as psql -At prints it: fields by `|`, rows by line, NULL as nothing.
pub(crate) fn sql(url: &str, statements: &str) -> String {
    let rows = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect_with(&options(url)).await?;
            sqlx::raw_sql(AssertSqlSafe(NEUTRAL.as_str())).execute(&mut connection).await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(&mut connection).await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(rows)
        })
    };
    // A thread of its own, since the caller may be in a runtime.
    let rows = std::thread::scope(|scope| scope.spawn(rows).join()).unwrap();
    let rows = rows.unwrap_or_else(|error| panic!("{statements}: {error}"));
    rows.iter().map(fields).collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn options(url: &str) -> PgConnectOptions {
    // Poolers refuse parameters in the startup message that they do not know.
    PgConnectOptions::from_str(url).unwrap().application_name("test").extra_float_digits(None)
}

fn fields(row: &PgRow) -> String {
    let field = |index| {
        let value = row.try_get_raw(index).unwrap();
        if value.is_null() { String::new() } else { value.as_str().unwrap().to_owned() }
    };
    (0..row.len()).map(field).collect::<Vec<_>>().join("|")
}
