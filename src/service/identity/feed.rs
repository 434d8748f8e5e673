//! What the change feed says of API tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

/// The newest answer of the feed; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::service) struct TokenFeed(Arc<watch::Sender<Option<Told>>>);

/// The state of the tokens when the feed asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// Another one after every change of a token.
    pub(super) state: Uuid,
    pub(super) asked: Instant,
}

impl TokenFeed {
    pub(in crate::service) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Every change that was committed before `asked` is in this state.
    pub(in crate::service) fn confirm(&self, state: Uuid, asked: Instant) {
        self.0.send_replace(Some(Told { state, asked }));
    }

    pub(super) fn latest(&self) -> Option<Told> {
        *self.0.borrow()
    }

    /// Waits until the feed has asked after a time, at most this long.
    pub(super) async fn confirms(&self, since: Instant, longest: Duration) {
        let mut told = self.0.subscribe();
        let newer = told.wait_for(|told| told.is_some_and(|told| told.asked >= since));
        let _ = tokio::time::timeout(longest, newer).await;
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Told>> {
        self.0.subscribe()
    }
}
