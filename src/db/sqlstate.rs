//! `SQLSTATE` (PostgreSQL manual, appendix A): the class of an error for metrics, and an error that several requests share.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use sqlx::error::{DatabaseError, ErrorKind};

use crate::telemetry::catalogue::labels::ErrorClass;

/// The class of an error, as metrics have it.
pub(super) fn class(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Database(error) => error.code().map_or(ErrorClass::Other, |code| of_code(&code)),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => ErrorClass::Connection,
        sqlx::Error::PoolTimedOut => ErrorClass::PoolTimeout,
        _ => ErrorClass::Other,
    }
}

fn of_code(code: &str) -> ErrorClass {
    match (code.get(..2).unwrap_or_default(), code) {
        ("08", _) => ErrorClass::Connection,
        ("22", _) => ErrorClass::Data,
        ("23", _) => ErrorClass::Constraint,
        ("25", _) => ErrorClass::TransactionState,
        ("28", _) => ErrorClass::Authorization,
        ("3D", _) => ErrorClass::Database,
        ("40", _) => ErrorClass::Rollback,
        ("42", _) => ErrorClass::Access,
        (_, "53100") => ErrorClass::DiskFull,
        (_, "53200") => ErrorClass::OutOfMemory,
        (_, "53300") => ErrorClass::TooManyConnections,
        ("53", _) => ErrorClass::Resources,
        ("54", _) => ErrorClass::Limit,
        ("55", _) => ErrorClass::State,
        ("57", _) => ErrorClass::Intervention,
        ("58", _) => ErrorClass::System,
        ("XX", _) => ErrorClass::Internal,
        _ => ErrorClass::Other,
    }
}

/// The same error for another request: of the server's error message and code are kept, of the system's its kind.
pub(super) fn shared(error: &sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::Database(error) => sqlx::Error::Database(Box::new(Shared {
            message: error.message().to_owned(),
            code: error.code().map(Cow::into_owned),
        })),
        sqlx::Error::Io(error) => sqlx::Error::Io(io::Error::new(error.kind(), error.to_string())),
        sqlx::Error::PoolTimedOut => sqlx::Error::PoolTimedOut,
        sqlx::Error::PoolClosed => sqlx::Error::PoolClosed,
        sqlx::Error::WorkerCrashed => sqlx::Error::WorkerCrashed,
        error => sqlx::Error::Protocol(error.to_string()),
    }
}

/// An error of the server that was one request's and is others', too.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Shared {
    message: String,
    code: Option<String>,
}

impl DatabaseError for Shared {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.code.as_deref().map(Cow::Borrowed)
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Error;

    fn server(code: &str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Shared { message: format!("error {code}"), code: Some(code.to_owned()) }))
    }

    #[test]
    fn errors_have_the_class_of_their_code() {
        let cases = [
            ("08006", "connection"),
            ("22021", "data"),
            ("23505", "constraint"),
            ("25006", "transaction_state"),
            ("28P01", "authorization"),
            ("3D000", "database"),
            ("40P01", "rollback"),
            ("42501", "access"),
            ("53000", "resources"),
            ("53100", "disk_full"),
            ("53200", "out_of_memory"),
            ("53300", "too_many_connections"),
            ("54001", "limit"),
            ("55P03", "state"),
            ("57014", "intervention"),
            ("58030", "system"),
            ("XX001", "internal"),
            ("F0000", "other"),
            ("", "other"),
            ("5", "other"),
        ];
        for (code, wanted) in cases {
            assert_eq!(class(&server(code)).as_str(), wanted, "{code:?}");
        }
        assert_eq!(class(&sqlx::Error::PoolTimedOut).as_str(), "pool_timeout");
        assert_eq!(class(&io::Error::from(io::ErrorKind::ConnectionRefused).into()).as_str(), "connection");
    }

    /// A batch that fails fails each of its requests, and each decides by the code what it means.
    #[test]
    fn a_shared_error_keeps_its_meaning() {
        for code in ["53300", "40001", "40P01", "57P01", "57014", "25006", "42P01", "XX001"] {
            let first = Error::from(server(code));
            let second = first.duplicate();
            assert_eq!(format!("{first:?}").split('(').next(), format!("{second:?}").split('(').next(), "{code}");
            assert_eq!(first.reason(), second.reason());
            assert_eq!(first.is_from_running_server(), second.is_from_running_server(), "{code}");
            assert_eq!(first.conflict(), second.conflict(), "{code}");
            assert_eq!(first.is_broken_connection(), second.is_broken_connection(), "{code}");
        }
        let lost = Error::from(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()));
        assert!(lost.duplicate().is_broken_connection());
        assert!(Error::from(sqlx::Error::PoolTimedOut).duplicate().is_pool_timeout());
    }
}
