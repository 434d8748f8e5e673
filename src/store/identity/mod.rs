//! Statements on API tokens.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

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

    /// The tokens that were not revoked, by hash, and their state: another one after every change. Those that expired are
    /// among them.
    ///
    /// # Errors
    /// The server's.
    pub async fn live_tokens(&self) -> Result<(Uuid, Vec<([u8; 32], Principal)>), Error> {
        self.database
            .general
            .read(|mut connection| async move {
                // One statement, so that both are of one moment. Without its row, nothing is known of changes.
                let query = sqlx::query(sql!(
                    TokenLoad,
                    "SELECT f.token_state, t.token_hash, t.name, t.role, t.user_id, t.expires_at
                     FROM (SELECT coalesce((SELECT token_state FROM dgm_archive_feed), gen_random_uuid()) AS token_state) f
                     LEFT JOIN dgm_api_tokens t ON t.revoked_at IS NULL"
                ))
                .try_map(|row: PgRow| {
                    let state: Uuid = row.try_get("token_state")?;
                    let Some(hash) = row.try_get::<Option<Vec<u8>>, _>("token_hash")? else { return Ok((state, None)) };
                    let hash = hash.try_into().map_err(|_| sqlx::Error::ColumnNotFound("token_hash".to_owned()))?;
                    let principal = Principal {
                        name: row.try_get("name")?,
                        role: row.try_get("role")?,
                        user_id: row.try_get("user_id")?,
                        expires_at: row.try_get("expires_at")?,
                    };
                    Ok((state, Some((hash, principal))))
                })
                .fetch_all(&mut *connection);
                let rows = timed_rows(Statement::TokenLoad, query).await?;
                let state = rows.first().map_or_else(Uuid::nil, |(state, _)| *state);
                Ok((state, rows.into_iter().filter_map(|(_, token)| token).collect()))
            })
            .await
    }

    /// The state of the tokens.
    ///
    /// # Errors
    /// The server's.
    pub async fn token_state(&self) -> Result<Option<Uuid>, Error> {
        self.database
            .general
            .read(|mut connection| async move {
                let query = sqlx::query_scalar(sql!(TokenState, "SELECT token_state FROM dgm_archive_feed"))
                    .fetch_optional(&mut *connection);
                timed(Statement::TokenState, query).await
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

    /// Revokes a token by name; `false` when there is no such token or it was revoked before.
    ///
    /// # Errors
    /// The server's.
    pub async fn revoke_token(&self, name: &str) -> Result<bool, Error> {
        let mut connection = self.database.general.acquire().await?;
        let query = sqlx::query(sql!(
            TokenRevoke,
            "UPDATE dgm_api_tokens SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL"
        ))
        .bind(name)
        .execute(&mut *connection);
        Ok(timed(Statement::TokenRevoke, query).await?.rows_affected() > 0)
    }
}
