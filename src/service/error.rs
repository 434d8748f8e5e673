//! Why a use case gave no answer, in the terms of the caller.

use std::sync::Arc;

use crate::cache::LoadLost;
use crate::db;
use crate::domain::clock::ClockError;
use crate::domain::validation::Invalid;
use crate::domain::{identity::Role, selection};

/// Why a use case gave no answer. Cheap to clone: several callers may wait for one load.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The input is wrong.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// There is no such thing.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// Which kind.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The input names something that does not exist.
    #[error("{0}")]
    UnknownReference(String),
    /// Another thing has the same id.
    #[error("another {what} has the id {id:?}")]
    AlreadyExists {
        /// Which kind.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// The state does not admit the change.
    #[error("{0}")]
    IllegalState(String),
    /// The lease has passed to another worker or was ended.
    #[error("the lease of {0:?} was lost: another worker may hold it now")]
    LeaseLost(String),
    /// The thing has another version than the caller thinks.
    #[error("the entry has version {current} now")]
    VersionDiffers {
        /// Its version.
        current: i64,
    },
    /// No caller is known.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller may not.
    #[error("this needs the role {needed}, the caller is {has}")]
    Forbidden {
        /// The least role that may.
        needed: Role,
        /// The caller's.
        has: Role,
    },
    /// Nothing to choose from.
    #[error("{0}")]
    NoCandidates(String),
    /// The database cannot answer now; the same request may succeed later.
    #[error("the database is not available")]
    Unavailable,
    /// The database failed. Callers learn only whether the same request may succeed later; [`Error::cause`] has the rest.
    #[error("{}", if .0.is_unavailable() { "the database is not available" } else { "internal error" })]
    Database(Arc<db::Error>),
    /// Too many writes wait already; the same request may succeed in a moment.
    #[error("too many writes are waiting; try again in a moment")]
    Busy,
    /// Sessions cannot be looked up, opened or closed now, for this reason; the same request may succeed later.
    #[error("sessions are not available: {0}")]
    SessionsUnavailable(&'static str),
    /// The artifact storage cannot answer now; the same request may succeed later.
    #[error("the artifact storage is not available")]
    StorageUnavailable,
    /// What is asked for needs a setting that this installation does not have.
    #[error("not to be had here: the setting {0} is empty")]
    NotConfigured(&'static str),
    /// The body is larger than what is taken.
    #[error("the body is larger than the {most} bytes that are taken")]
    TooLarge {
        /// Bytes that are taken.
        most: u64,
    },
    /// A limit of the configuration.
    #[error("{0}")]
    LimitReached(String),
    /// The time is not certain.
    #[error("{0}")]
    Clock(#[from] ClockError),
    /// A fault of ours; the log has the rest.
    #[error("internal error")]
    Internal,
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        use db::Error as Database;
        match error {
            Database::MissingReference(constraint) => Self::UnknownReference(reference(&constraint).to_owned()),
            Database::Refused(reason) => Invalid::one("", format!("the database refuses a value: {reason}")).into(),
            // The use case knows which column is unique and reports it before this point.
            Database::Duplicate(constraint) => {
                Self::IllegalState(format!("a row with the same key exists ({constraint})"))
            }
            Database::Unavailable(ref source) => {
                tracing::warn!(error = %source, "the database is not available");
                Self::Database(Arc::new(error))
            }
            Database::Unsuitable(ref reason) => {
                tracing::error!(reason, "the database cannot be used");
                Self::Database(Arc::new(error))
            }
            Database::Busy => Self::Busy,
            Database::NoPartition => {
                tracing::error!("a sample found no partition although its month was just made");
                Self::Unavailable
            }
            Database::Other(ref source) => {
                tracing::error!(error = %source, "the database failed");
                Self::Database(Arc::new(error))
            }
        }
    }
}

impl Error {
    /// For operators: what the database answered, where it is the reason. It may name hosts and roles.
    #[must_use]
    pub fn cause(&self) -> String {
        if let Self::Database(error) = self { error.reason() } else { self.to_string() }
    }

    /// There is no archive entry with this id.
    pub(super) fn no_entry(id: &str) -> Self {
        Self::NotFound { what: "archive entry", id: id.to_owned() }
    }
}

fn reference(constraint: &str) -> &'static str {
    match constraint {
        "dgm_archive_parent_entry_id_fkey" | "dgm_improvements_parent_entry_id_fkey" => {
            "parent_entry_id names an entry that does not exist"
        }
        "dgm_archive_inspirations_inspiration_entry_id_fkey" => "inspirations names an entry that does not exist",
        _ => "the request names something that does not exist",
    }
}

impl From<selection::Error> for Error {
    fn from(error: selection::Error) -> Self {
        match error {
            selection::Error::NoCandidates => Self::NoCandidates(error.to_string()),
            selection::Error::Parameter(reason) => Invalid::one("/", reason).into(),
        }
    }
}

impl From<LoadLost> for Error {
    fn from(_: LoadLost) -> Self {
        Self::Unavailable
    }
}
