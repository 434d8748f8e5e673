//! Statements on API tokens.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::db::{Database, Error, timed, timed_rows};
use crate::domain::identity::{Principal, Role, TokenInfo};
use crate::telemetry::catalogue::statements::{Statement, sql};

fn info(row: &PgRow) -> Result<TokenInfo, sqlx::Error> {
    Ok(TokenInfo {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

/// API tokens; cheap to clone.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    database: Database,
}

impl IdentityStore {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// The caller behind a token that was not revoked; the caller of this judges its expiry.
    ///
    /// # Errors
    /// The server's.
    pub async fn principal(&self, token_hash: &[u8; 32]) -> Result<Option<Principal>, Error> {
        self.database.general.read(|mut connection| async move {
            let query = sqlx::query(sql!(
                TokenFind,
                "SELECT name, role, user_id, expires_at FROM dgm_api_tokens WHERE token_hash = $1 AND revoked_at IS NULL"
            ))
            .bind(token_hash.as_slice())
            .try_map(|row: PgRow| {
                Ok(Principal {
                    name: row.try_get("name")?,
                    role: row.try_get("role")?,
                    user_id: row.try_get("user_id")?,
                    expires_at: row.try_get("expires_at")?,
                })
            })
            .fetch_optional(&mut *connection);
            timed(Statement::TokenFind, query).await
        })
        .await
    }

    /// Keeps the hash of a new token.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when the name is taken.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        token_hash: &[u8; 32],
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<TokenInfo, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(sql!(
            TokenInsert,
            "INSERT INTO dgm_api_tokens (name, role, token_hash, expires_at) VALUES ($1, $2, $3, $4)
             RETURNING id, name, role, created_at, expires_at, revoked_at"
        ))
        .bind(name)
        .bind(role)
        .bind(token_hash.as_slice())
        .bind(expires_at)
        .try_map(|row| info(&row))
        .fetch_one(&mut *connection);
        timed(Statement::TokenInsert, query).await
    }

    /// Every token, by name.
    ///
    /// # Errors
    /// The server's.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query(sql!(
                    TokenList,
                    "SELECT id, name, role, created_at, expires_at, revoked_at FROM dgm_api_tokens ORDER BY name"
                ))
                .try_map(|row| info(&row))
                .fetch_all(&mut *connection);
                timed_rows(Statement::TokenList, query).await
            })
            .await
    }

    /// Revokes a token by name; answers its hash, or nothing when there is no such token or it was revoked before.
    ///
    /// # Errors
    /// The server's.
    pub async fn revoke_token(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query_scalar(sql!(
            TokenRevoke,
            "UPDATE dgm_api_tokens SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL RETURNING token_hash"
        ))
        .bind(name)
        .fetch_optional(&mut *connection);
        timed(Statement::TokenRevoke, query).await
    }
}
