//! What `dgm migrate status`, `verify` and `dgm doctor` read. They take no lock and write nothing, so that any role that can
//! read the tables may run them.

use sqlx::PgConnection;
use sqlx::migrate::MigrationType;

use super::history::{self, Schema, State};
use super::{Error, connect, known, named_after};

/// A connection that only reads.
pub struct Inspection {
    connection: PgConnection,
}

impl Inspection {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn open(database_url: &str) -> Result<Self, Error> {
        Ok(Self { connection: connect(database_url).await? })
    }

    /// The schema of the database.
    ///
    /// # Errors
    /// [`Error::Database`] when the history cannot be read.
    pub async fn schema(&mut self) -> Result<Schema, Error> {
        Ok(history::read(&mut self.connection).await?)
    }

    /// The tables that [`super::Session::down`] would drop.
    ///
    /// # Errors
    /// [`Error::Database`] when the history cannot be read.
    pub async fn tables_lost(&mut self, target: i64) -> Result<Vec<&'static str>, Error> {
        let migrations = self.schema().await?.migrations;
        let is_reverted =
            |version| migrations.iter().any(|m| m.version == version && version > target && m.state != State::Pending);
        let ups = known(MigrationType::ReversibleUp).filter(|migration| is_reverted(migration.version));
        Ok(ups.flat_map(|migration| named_after(migration.sql.as_str(), "CREATE TABLE ")).collect())
    }

    /// The connection, for checks.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
