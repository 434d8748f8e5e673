//! Connections that LISTEN, and the time in which a connection outside the pools must answer.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{Database, Error, Kind};

/// Timeout of connecting and of an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Database {
    /// A connection of a kind that listens to a channel. When it breaks, it must be opened again: notifications may have been lost with it,
    /// so it does not reconnect by itself.
    ///
    /// # Errors
    /// [`Error::Unsuitable`], [`Error::Unavailable`].
    pub async fn listen(&self, kind: Kind, channel: &str) -> Result<PgListener, Error> {
        self.primary.ready().await?;
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT);
        let pool = self.primary.unfollowed_pool(kind, options);
        let mut listener = in_time(PgListener::connect_with(&pool)).await?;
        listener.eager_reconnect(false);
        in_time(listener.listen(channel)).await?;
        Ok(listener)
    }
}

/// The answer, or an error when there is none within two seconds.
///
/// # Errors
/// The call's; [`sqlx::Error::PoolTimedOut`].
pub async fn in_time<T, E: From<sqlx::Error>>(call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(TIMEOUT, call).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}
