//! The end of streams whose caller may no longer call. One task watches for all of them ([`IdentityService::watch_ends`]); a stream waits
//! for what that task finds and for its own expiry, and asks neither the database nor Redis.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use super::{Duration, IdentityService, Instant, REVOCATION, SESSION_PREFIX, Session, secret_hash};

/// Time between two rounds of checks of sessions.
const ROUND: Duration = Duration::from_secs(1);
/// Sessions that are checked in one round, which bounds what they cost Redis. With more, each is checked every few rounds.
const CHECKED: usize = 50;
/// Longest sleep until an expiry: the clock may be corrected meanwhile.
const LONGEST: Duration = Duration::from_mins(1);

type Digest = [u8; 32];

/// What the streams of this process wait for; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Another value after every change of a token.
    tokens: watch::Sender<Option<Uuid>>,
    sessions: Mutex<Sessions>,
}

/// The sessions that streams were opened with.
#[derive(Debug, Default)]
struct Sessions {
    /// Whether each was closed.
    closed: HashMap<Digest, watch::Sender<bool>>,
    /// The order in which they are checked.
    turns: VecDeque<Digest>,
}

impl Ends {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, session: Digest) -> watch::Receiver<bool> {
        let mut sessions = self.sessions();
        if let Some(closed) = sessions.closed.get(&session) {
            return closed.subscribe();
        }
        sessions.turns.push_back(session);
        sessions.closed.entry(session).or_default().subscribe()
    }

    /// Ends the streams of a session.
    pub(super) fn close(&self, session: &Digest) {
        if let Some(closed) = self.sessions().closed.get(session) {
            closed.send_replace(true);
        }
    }

    /// The sessions to check next. Those without streams are forgotten.
    fn next(&self) -> Vec<Digest> {
        let mut sessions = self.sessions();
        let mut next = Vec::new();
        for _ in 0..sessions.turns.len() {
            if next.len() == CHECKED {
                break;
            }
            let Some(session) = sessions.turns.pop_front() else { break };
            if sessions.closed.get(&session).is_some_and(|closed| closed.receiver_count() > 0) {
                sessions.turns.push_back(session);
                next.push(session);
            } else {
                sessions.closed.remove(&session);
            }
        }
        next
    }
}

impl IdentityService {
    /// Finds out which callers may no longer call, for as long as it is polled.
    pub async fn watch_ends(&self) {
        let mut told = self.tokens.feed().subscribe();
        let (mut seen, mut checked) = (None, Instant::now());
        loop {
            let changed = told.wait_for(|told| told.map(|told| told.state) != seen);
            if let Ok(Ok(told)) = tokio::time::timeout(ROUND.saturating_sub(checked.elapsed()), changed).await {
                seen = told.map(|told| told.state);
            }
            // While the feed is interrupted, this asks the database, once a second.
            if self.ends.0.tokens.receiver_count() > 0
                && let Some(state) = self.tokens.state().await
            {
                self.ends.0.tokens.send_if_modified(|last| last.replace(state) != Some(state));
            }
            if checked.elapsed() >= ROUND {
                checked = Instant::now();
                for session in self.ends.next() {
                    if let Ok(None) = self.session(session).await {
                        self.ends.close(&session);
                    }
                }
            }
        }
    }

    /// Ends when the caller behind a bearer secret, who was admitted, may no longer call: the token was revoked, the session closed, or one
    /// of them has expired.
    pub async fn ended(&self, bearer: &str) {
        let digest = secret_hash(bearer);
        // Before the first look, so that what changes after it is noticed.
        let mut tokens = self.ends.0.tokens.subscribe();
        let (mut closed, session) = if bearer.starts_with(SESSION_PREFIX) {
            let closed = self.ends.watch(digest);
            let Some(session) = self.opened(digest).await else { return };
            (Some(closed), Some(session))
        } else {
            (None, None)
        };
        let hash = session.as_ref().map_or(digest, |session| session.token_hash);
        loop {
            tokens.mark_unchanged();
            let (expires_at, again) = match self.tokens.current(&hash).await {
                Ok(None) => return,
                Ok(Some(principal)) => (principal.expires_at, LONGEST),
                // The database does not answer.
                Err(_) => (None, REVOCATION),
            };
            let expires_at = session.iter().map(|session| session.expires_at).chain(expires_at).min();
            let left = expires_at.map(|at| (at - self.clock.timestamp()).to_std().unwrap_or_default());
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            tokio::select! {
                _ = tokens.changed() => {}
                () = tokio::time::sleep(left.map_or(again, |left| left.min(again))) => {}
                () = is_closed(closed.as_mut()) => return,
            }
        }
    }

    /// A session, once Redis answers; `None` when there is none.
    async fn opened(&self, digest: Digest) -> Option<Session> {
        loop {
            match self.session(digest).await {
                Ok(session) => return session,
                Err(_) => tokio::time::sleep(ROUND).await,
            }
        }
    }
}

async fn is_closed(closed: Option<&mut watch::Receiver<bool>>) {
    match closed {
        // Its sender lives as long as its receivers.
        Some(closed) => drop(closed.wait_for(|closed| *closed).await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_checked_in_turns_while_they_have_streams() {
        let ends = Ends::default();
        let digest = |n: u8| [n; 32];
        let streams: Vec<_> = (0..120).map(|n| ends.watch(digest(n))).collect();
        let second = ends.watch(digest(0));
        let rounds: Vec<_> = (0..4).map(|_| ends.next()).collect();
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [50; 4]);
        let first: std::collections::HashSet<_> = rounds[..3].concat().into_iter().collect();
        assert_eq!(first.len(), 120, "each within three rounds, however many streams it has");
        ends.close(&digest(0));
        assert!(*second.borrow() && *streams[0].borrow() && !*streams[1].borrow());
        drop((streams, second));
        assert!(ends.next().is_empty() && ends.sessions().closed.is_empty());
    }
}
