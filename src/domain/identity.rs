//! Who calls, and what they may do.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::closed::wire;

wire! {
    /// What a caller may do; each role may do all that the roles before it may.
    #[derive(PartialOrd, Ord, Hash)]
    pub Role "role" {
        /// Reads.
        Reader "reader",
        /// Runs the loop: writes entries, improvements and samples.
        Worker "worker",
        /// Runs the service: cancels, retries, runs jobs.
        Operator "operator",
        /// Manages identities.
        Admin "admin",
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// The token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The identity behind it, when the token was made for one.
    pub user_id: Option<Uuid>,
    /// When it ends; `null` for never.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Principal {
    /// The caller when authentication is off (`dgm dev` without `--auth`).
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self { name: "unauthenticated".to_owned(), role: Role::Admin, user_id: None, expires_at: None }
    }
}

/// An API token in a list. The secret itself is not stored.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenInfo {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A new session; its secret is shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewSession {
    /// Use it as the bearer token; it is not shown again.
    pub session_token: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Whose it is.
    pub principal: Principal,
}

/// An API token to create.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name, unique.
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it ends; never when absent.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A new token, shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedToken {
    /// The token; only its hash is kept.
    pub token: String,
    /// The rest.
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// What stands at the start of an API token, so that secret scanners know one.
pub const TOKEN_PREFIX: &str = "dgm_";
/// What stands at the start of a session.
pub const SESSION_PREFIX: &str = "dgms_";

/// A fresh secret with 256 random bits.
#[must_use]
pub fn secret(prefix: &str) -> String {
    use base64::Engine as _;
    let random: [u8; 32] = rand::random();
    format!("{prefix}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}

/// What is kept of a secret. A plain hash is enough: the secret has 256 random bits, so there is nothing to guess.
#[must_use]
pub fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}
