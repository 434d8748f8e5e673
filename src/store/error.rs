//! What the database said, in words that the layers above can act on.

use sqlx::error::ErrorKind;

/// Why a statement gave no answer.
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
    /// No partition takes the sample's time.
    #[error("no partition for the sample's time")]
    NoPartition,
    /// Too many writes wait already.
    #[error("too many writes are waiting")]
    Busy,
    /// The database cannot be reached, has no free connection, or took too long.
    #[error("the database is not available: {0}")]
    Unavailable(sqlx::Error),
    /// Anything else; a fault of ours.
    #[error("the database failed: {0}")]
    Other(sqlx::Error),
}

/// `read_only_sql_transaction`, after a failover until the primary is found; `lock_not_available`; `undefined_table`, `_column` and `_function`, which a migration that is still to come makes; and the
/// classes of transaction rollback (a deadlock), insufficient resources, operator intervention (`query_canceled` by
/// `statement_timeout`) and connection exceptions (PostgreSQL, appendix A).
fn passing(code: &str) -> bool {
    ["25006", "55P03", "42P01", "42703", "42883"].contains(&code)
        || ["40", "53", "57", "08"].iter().any(|class| code.starts_with(class))
}

impl Error {
    /// Whether the rows are at fault, so that other rows may fare better.
    pub(super) const fn is_about_data(&self) -> bool {
        matches!(self, Self::MissingReference(_) | Self::Duplicate(_) | Self::Refused(_) | Self::NoPartition)
    }

    /// Whether a statement ran, or waited for a lock, longer than it may (`query_canceled`, `lock_not_available`).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == "57014" || code == "55P03")
    }

    /// Whether the server itself said this, and not that it is going down or coming up (`57P`).
    pub(super) fn is_an_answer(&self) -> bool {
        self.code().is_some_and(|code| !code.starts_with("57P"))
    }

    /// Whether something is kept from this role (`insufficient_privilege`), was not loaded into the server
    /// (`object_not_in_prerequisite_state`) or is not there in its version (`undefined_column`, `undefined_function`).
    #[must_use]
    pub fn is_out_of_sight(&self) -> bool {
        self.code().is_some_and(|code| ["42501", "55000", "42703", "42883"].contains(&code.as_str()))
    }

    /// `SQLSTATE` of what is not told by a variant.
    fn code(&self) -> Option<String> {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) | Self::Other(sqlx::Error::Database(error)) => {
                error.code().map(std::borrow::Cow::into_owned)
            }
            _ => None,
        }
    }

    /// Whether a connection broke in the middle, so that nobody knows whether the statement took effect.
    pub(super) fn is_broken_connection(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            Self::Unavailable(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
            }
            _ => false,
        }
    }

    /// The same fault for another of those whom it struck.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::MissingReference(constraint) => Self::MissingReference(constraint.clone()),
            Self::Duplicate(constraint) => Self::Duplicate(constraint.clone()),
            Self::Refused(reason) => Self::Refused(reason.clone()),
            Self::NoPartition => Self::NoPartition,
            Self::Busy => Self::Busy,
            Self::Unavailable(error) => Self::Unavailable(sqlx::Error::Protocol(error.to_string())),
            Self::Other(error) => Self::Other(sqlx::Error::Protocol(error.to_string())),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
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
            (_, code) if passing(code) => Self::Unavailable(error),
            _ => Self::Other(error),
        }
    }
}
