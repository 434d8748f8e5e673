//! Spans of database calls, by the conventions for database clients
//! (<https://opentelemetry.io/docs/specs/semconv/db/database-spans/>): named like the statement, without its text and
//! the values bound to it.

use std::future::Future;
use std::pin::Pin;

use futures_util::FutureExt as _;
use sqlx::error::DatabaseError;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::telemetry::catalogue::statements::Statement;
use crate::telemetry::spans;

/// The span of a statement; none when the trace is not recorded.
pub(super) fn statement(statement: Statement) -> Span {
    let name = statement.as_str();
    spans::child!(
        "statement",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
        db.system.name = "postgresql",
        db.operation.name = name,
        db.query.summary = name,
        db.response.status_code = Empty,
        db.response.returned_rows = Empty,
        error.type = Empty,
    )
}

/// Marks the span of a statement that failed.
pub(super) fn failed<T>(span: &Span, outcome: &Result<T, sqlx::Error>) {
    if let Err(error) = outcome
        && !span.is_none()
    {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if let Some(code) = &code {
            span.record("db.response.status_code", &**code);
        }
        spans::failed(span, code.as_deref().unwrap_or("connection"), error);
    }
}

/// Records the number of returned rows in the current statement span.
pub(super) fn returned<T>(rows: &[T]) {
    if spans::are_followed() {
        Span::current().record("db.response.returned_rows", spans::number(rows.len()));
    }
}

/// The wait for a connection: a span only where there is a wait.
pub(super) async fn waiting<F: Future>(mut connection: Pin<&mut F>) -> F::Output {
    if spans::are_followed() {
        if let Some(ready) = connection.as_mut().now_or_never() {
            return ready;
        }
        return connection.instrument(spans::child!("acquire connection", db.system.name = "postgresql")).await;
    }
    connection.await
}

/// A transaction begins: the wait for a connection, and BEGIN.
pub(super) fn begin() -> Span {
    spans::child!("begin transaction", otel.kind = "client", db.system.name = "postgresql", db.operation.name = "BEGIN")
}
