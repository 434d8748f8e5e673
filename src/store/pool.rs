//! The connection pool, and whether the database behind it can serve.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::migrate;

/// The service's database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// A store that connects when first asked.
    ///
    /// # Errors
    /// When the URL is no PostgreSQL URL.
    pub fn new(database_url: &str) -> Result<Self, sqlx::Error> {
        let options = PgPoolOptions::new().max_connections(16).acquire_timeout(Duration::from_secs(3));
        Ok(Self { pool: options.connect_lazy(database_url)? })
    }

    /// The newest applied migration and the newest that this binary knows: `(applied, known)`.
    ///
    /// # Errors
    /// The server's, when it cannot be reached or was never migrated.
    pub async fn schema_version(&self) -> Result<(i64, i64), sqlx::Error> {
        let applied: Option<i64> =
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(&self.pool).await?;
        Ok((applied.unwrap_or(0), migrate::MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0)))
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }
}
