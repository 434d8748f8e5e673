//! API tokens and sessions.

mod ends;
pub(super) mod feed;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use ends::Ends;
use feed::TokenFeed;
use tokens::Tokens;

use super::error::Error;
use super::render::json;
use crate::cache::{Cache, Cached, Key, Unwritten};
use crate::db;
use crate::domain::clock::Clock;
use crate::domain::identity::{
    CreatedToken, NewSession, NewToken, Principal, SESSION_PREFIX, TOKEN_PREFIX, TokenInfo, secret, secret_hash,
};
use crate::domain::time;
use crate::domain::validation::Check;
use crate::store::identity::IdentityStore;
use crate::telemetry::catalogue::auth::AUTH_FAILURES;
use crate::telemetry::catalogue::labels::AuthFailure;

/// How long another replica may accept a token after it was revoked.
pub const REVOCATION: Duration = tokens::FRESH;

/// A session in the cache. It refers to its API token by hash, so that revoking the token ends the session too.
#[derive(Debug, Serialize, Deserialize)]
struct Session {
    token_hash: [u8; 32],
    expires_at: DateTime<Utc>,
}

/// Use cases of API tokens and sessions; cheap to clone.
#[derive(Debug, Clone)]
pub struct IdentityService {
    identities: IdentityStore,
    tokens: Tokens,
    ends: Ends,
    cache: Cache,
    clock: Arc<dyn Clock>,
    session_ttl: Duration,
}

impl IdentityService {
    pub(super) fn new(
        (identities, feed): (IdentityStore, TokenFeed),
        cache: Cache,
        clock: Arc<dyn Clock>,
        session_ttl: Duration,
    ) -> Self {
        Self {
            tokens: Tokens::new(identities.clone(), feed),
            ends: Ends::default(),
            identities,
            cache,
            clock,
            session_ttl,
        }
    }

    /// The caller behind a bearer secret: an API token or a session.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it is unknown, revoked or expired; [`Error::SessionsUnavailable`] for a session while Redis is away.
    pub async fn authenticate(&self, bearer: &str) -> Result<Arc<Principal>, Error> {
        let unknown = || {
            AUTH_FAILURES.increment((AuthFailure::Unknown,));
            Error::Unauthenticated("the token is unknown or was revoked")
        };
        let expired = || {
            AUTH_FAILURES.increment((AuthFailure::Expired,));
            Error::Unauthenticated("the token has expired")
        };
        let hash = secret_hash(bearer);
        if !bearer.starts_with(SESSION_PREFIX) {
            let principal = self.tokens.find(&hash).await?.ok_or_else(unknown)?;
            let over = over(principal.expires_at, self.clock.timestamp());
            return if over { Err(expired()) } else { Ok(principal) };
        }
        let session = self.session(hash).await?.ok_or_else(unknown)?;
        let principal = self.tokens.find(&session.token_hash).await?.ok_or_else(unknown)?;
        if over(Some(session.expires_at), self.clock.timestamp()) || over(principal.expires_at, self.clock.timestamp())
        {
            return Err(expired());
        }
        Ok(Arc::new(Principal { expires_at: Some(session.expires_at), ..Principal::clone(&principal) }))
    }

    async fn session(&self, digest: [u8; 32]) -> Result<Option<Session>, Error> {
        let kept = self.cache.get(&Key::Session { digest }).await;
        // Sessions are stored in Redis: without it the session cannot be looked up.
        let kept = kept.map_err(|_| Error::SessionsUnavailable("Redis does not answer"))?;
        Ok(kept.and_then(|kept| serde_json::from_slice(&kept.body).ok()))
    }

    /// Opens a session for the caller behind an API token.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`]; a session opens no session. [`Error::SessionsUnavailable`]: it was not stored.
    pub async fn open_session(&self, bearer: &str) -> Result<NewSession, Error> {
        if bearer.starts_with(SESSION_PREFIX) {
            return Err(Error::Unauthenticated("a session opens no session: show an API token"));
        }
        let principal = self.authenticate(bearer).await?;
        let life = self.session_ttl;
        let until = time::plus(self.clock.timestamp(), TimeDelta::from_std(life).unwrap_or(TimeDelta::MAX));
        let expires_at = principal.expires_at.map_or(until, |ends| ends.min(until));
        let session_token = secret(SESSION_PREFIX);
        let body = json(&Session { token_hash: secret_hash(bearer), expires_at })?;
        let key = Key::Session { digest: secret_hash(&session_token) };
        let stored = self.cache.put(&key, Cached::new(body, None, 0), life).await;
        stored.map_err(|Unwritten(why)| Error::SessionsUnavailable(why))?;
        let principal = Principal { expires_at: Some(expires_at), ..Principal::clone(&principal) };
        Ok(NewSession { session_token, expires_at, principal })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the bearer is no session. [`Error::SessionsUnavailable`]: other replicas still accept it, until
    /// Redis accepts the deletion, which is tried again.
    pub async fn close_session(&self, bearer: &str) -> Result<(), Error> {
        if !bearer.starts_with(SESSION_PREFIX) {
            return Err(Error::NotFound { what: "session", id: "current".to_owned() });
        }
        let digest = secret_hash(bearer);
        let deleted = self.cache.delete(&Key::Session { digest }).await;
        self.ends.close(&digest);
        deleted.map_err(|Unwritten(why)| Error::SessionsUnavailable(why))
    }

    /// Makes an API token.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the name is taken.
    pub async fn create_token(&self, new: &NewToken) -> Result<CreatedToken, Error> {
        let mut check = Check::default();
        check.name("name", &new.name);
        check.that(new.expires_at.is_none_or(|at| at > self.clock.timestamp()), "expires_at", "must lie in the future");
        let accepted = new.expires_at.is_none_or(time::is_accepted);
        check.that(accepted, "expires_at", "must have a year of four digits");
        check.done()?;
        let token = secret(TOKEN_PREFIX);
        let kept = self.identities.create_token(&new.name, new.role, &secret_hash(&token), new.expires_at).await;
        let info = kept.map_err(|error| match error {
            db::Error::Duplicate(_) => Error::AlreadyExists { what: "token", id: new.name.clone() },
            other => other.into(),
        })?;
        self.tokens.forget().await;
        Ok(CreatedToken { token, info })
    }

    /// Every token.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        Ok(self.identities.tokens().await?)
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such token, or it was revoked before.
    pub async fn revoke_token(&self, name: &str) -> Result<(), Error> {
        let mut check = Check::default();
        check.name("name", name);
        check.done()?;
        if !self.identities.revoke_token(name).await? {
            return Err(Error::NotFound { what: "token that is not revoked", id: name.to_owned() });
        }
        self.tokens.forget().await;
        Ok(())
    }
}

fn over(ends: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    ends.is_some_and(|ends| ends <= now)
}
