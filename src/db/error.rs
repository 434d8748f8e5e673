//! Database errors as the layers above can act on them.

use std::error::Error as StdError;

use sqlx::error::ErrorKind;

use super::losses;
use super::sqlstate::{class, shared};
use crate::telemetry::catalogue::database::DB_ERRORS;
use crate::telemetry::catalogue::labels::Conflict;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row that is referred to does not exist; the constraint's name says which.
    #[error("a referenced row does not exist ({0})")]
    MissingReference(String),
    /// Another row has the same key; the constraint's name says which.
    #[error("a row with the same key exists ({0})")]
    Duplicate(String),
    /// A value that the schema or the encoding refuses.
    #[error("the database refuses a value: {0}")]
    Refused(String),
    /// No partition takes the row's time.
    #[error("no partition for the sample's time")]
    NoPartition,
    /// The write queue is full.
    #[error("too many writes are waiting")]
    Busy,
    /// A server that cannot be used as it is: a pooler in transaction mode, another encoding. The text is one sentence for the operator.
    #[error("{0}")]
    Unsuitable(String),
    /// The database cannot be reached, has no free connection, or took too long.
    #[error("the database is not available: {0}")]
    Unavailable(sqlx::Error),
    /// Anything else: a defect of this program.
    #[error("the database failed: {0}")]
    Other(sqlx::Error),
}

/// The cause of a failed connection attempt, and the server that was tried.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {cause}")]
pub(super) struct Located {
    pub(super) server: String,
    pub(super) cause: String,
}

/// The cause without the server, if `inner` is a [`Located`]; otherwise `whole`.
fn cause(inner: Option<&(dyn StdError + Send + Sync + 'static)>, whole: &impl ToString) -> String {
    let located = inner.and_then(|inner| inner.downcast_ref::<Located>());
    located.map_or_else(|| whole.to_string(), |located| located.cause.clone())
}

/// Errors that pass: `read_only_sql_transaction`, after a failover until the primary is found; `lock_not_available`;
/// `undefined_table`, `_column` and `_function`, until a pending migration is applied; and the classes of transaction rollback
/// (a deadlock), insufficient resources, operator intervention (`query_canceled` by `statement_timeout`) and connection
/// exceptions (PostgreSQL, appendix A).
fn is_transient(code: &str) -> bool {
    ["25006", "55P03", "42P01", "42703", "42883"].contains(&code)
        || ["40", "53", "57", "08"].iter().any(|class| code.starts_with(class))
}

impl Error {
    /// Whether the rows caused it, so that other rows may succeed.
    #[must_use]
    pub const fn is_about_data(&self) -> bool {
        matches!(self, Self::MissingReference(_) | Self::Duplicate(_) | Self::Refused(_) | Self::NoPartition)
    }

    /// Whether the same statement may succeed later.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unsuitable(_))
    }

    /// Whether a statement ran, or waited for a lock, longer than it may (`query_canceled`, `lock_not_available`).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == "57014" || code == "55P03")
    }

    /// Whether a server that is up returned it: not a connection error, and not a server that starts or stops (`57P`).
    #[must_use]
    pub fn is_from_running_server(&self) -> bool {
        matches!(self, Self::Unsuitable(_)) || self.code().is_some_and(|code| !code.starts_with("57P"))
    }

    /// Whether this role may not see an object (`insufficient_privilege`), a library is not loaded into the server
    /// (`object_not_in_prerequisite_state`) or the server's version lacks it (`undefined_column`, `undefined_function`).
    #[must_use]
    pub fn is_not_visible(&self) -> bool {
        self.code().is_some_and(|code| ["42501", "55000", "42703", "42883"].contains(&code.as_str()))
    }

    /// Whether the server lacks a table, a column or a function that this program uses (`undefined_table` and its like).
    #[must_use]
    pub fn is_about_schema(&self) -> bool {
        self.code().is_some_and(|code| ["42P01", "42703", "42883"].contains(&code.as_str()))
    }

    /// Whether it says only that no connection was obtained, and not why.
    #[must_use]
    pub const fn is_pool_timeout(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::PoolTimedOut))
    }

    /// What the server or the system said, for operators: it may name hosts and roles, which callers must not learn.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unavailable(error) | Self::Other(error) => match error {
                sqlx::Error::Database(error) => {
                    let code = error.code().map_or_else(String::new, |code| format!(" (SQLSTATE {code})"));
                    format!("{}{code}", error.message())
                }
                sqlx::Error::Io(error) => error.to_string(),
                sqlx::Error::Tls(error) => format!("TLS: {error}"),
                sqlx::Error::PoolTimedOut => "no connection was free in time".to_owned(),
                error => error.to_string(),
            },
            error => error.to_string(),
        }
    }

    /// The reason and the database, once.
    #[must_use]
    pub fn reason_of(&self, database: &str) -> String {
        match self {
            // It names the server.
            Self::Unsuitable(reason) => reason.clone(),
            // `database` names the server, too.
            Self::Unavailable(sqlx::Error::Io(error)) => format!("{database}: {}", cause(error.get_ref(), error)),
            Self::Unavailable(sqlx::Error::Tls(error)) => format!("{database}: TLS: {}", cause(Some(&**error), error)),
            error => format!("{database}: {}", error.reason()),
        }
    }

    /// `SQLSTATE`, for errors without a variant of their own.
    fn code(&self) -> Option<String> {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) | Self::Other(sqlx::Error::Database(error)) => {
                error.code().map(std::borrow::Cow::into_owned)
            }
            _ => None,
        }
    }

    /// Whether the connection broke during the statement, so that its outcome is unknown.
    #[must_use]
    pub fn is_broken_connection(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            Self::Unavailable(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
            }
            _ => false,
        }
    }

    /// Why the server rolled the transaction back, if it did so in favour of others (`serialization_failure`,
    /// `deadlock_detected`).
    #[must_use]
    pub fn conflict(&self) -> Option<Conflict> {
        match self.code()?.as_str() {
            "40001" => Some(Conflict::Serialization),
            "40P01" => Some(Conflict::Deadlock),
            _ => None,
        }
    }

    /// Whether a write met a server that accepts none (`read_only_sql_transaction`): it is, or has become, a standby.
    pub(super) fn is_read_only(&self) -> bool {
        self.code().is_some_and(|code| code == "25006")
    }

    /// The same error for another request of the batch.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::MissingReference(constraint) => Self::MissingReference(constraint.clone()),
            Self::Duplicate(constraint) => Self::Duplicate(constraint.clone()),
            Self::Refused(reason) => Self::Refused(reason.clone()),
            Self::NoPartition => Self::NoPartition,
            Self::Busy => Self::Busy,
            Self::Unsuitable(reason) => Self::Unsuitable(reason.clone()),
            Self::Unavailable(error) => Self::Unavailable(shared(error)),
            Self::Other(error) => Self::Other(shared(error)),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        DB_ERRORS.increment((class(&error),));
        let error = Self::classify(error);
        losses::note(&error);
        error
    }
}

impl Error {
    fn classify(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
                _ => Self::Other(error),
            };
        };
        let code = database.code().unwrap_or_default().into_owned();
        let constraint = || database.constraint().unwrap_or_default().to_owned();
        match (database.kind(), code.as_str()) {
            (ErrorKind::ForeignKeyViolation, _) => Self::MissingReference(constraint()),
            (ErrorKind::UniqueViolation, _) => Self::Duplicate(constraint()),
            // A row outside every partition is reported as a check violation without a constraint.
            (ErrorKind::CheckViolation, _) if database.constraint().is_none() => Self::NoPartition,
            (ErrorKind::CheckViolation | ErrorKind::NotNullViolation, _) => Self::Refused(constraint()),
            // Data exceptions: a NUL character, a string too long, a number out of range.
            (_, code) if code.starts_with("22") => Self::Refused(database.message().to_owned()),
            (_, code) if is_transient(code) => Self::Unavailable(error),
            _ => Self::Other(error),
        }
    }
}

/// A broken connection.
#[cfg(test)]
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Unavailable(sqlx::Error::Io(error))
    }
}
