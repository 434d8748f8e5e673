//! The live tokens in memory: who is behind a token, known or not, costs no query.
//!
//! The change feed reports every change of a token, and confirms twice a second that there was none. While it is interrupted
//! the database is asked instead, once a second, however many requests arrive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use tracing::Instrument as _;
use uuid::Uuid;

use super::feed::TokenFeed;
use crate::domain::identity::Principal;
use crate::service::error::Error;
use crate::store::identity::IdentityStore;

/// What was confirmed longer ago is confirmed again before it is used.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// While the database does not answer, known tokens are accepted for as long as cached entries are served.
const GRACE: Duration = Duration::from_secs(4);
/// Longest wait for a database that does not answer, within that time, and time between two attempts.
const ATTEMPT: Duration = Duration::from_millis(250);
/// How many unknown tokens wait for the next answer of the feed, since they may have been created a moment ago. The rest of a flood is
/// refused at once.
const WAITING: u32 = 4;
/// Time until one more may wait.
const REFILL: Duration = Duration::from_secs(1);

type Principals = HashMap<[u8; 32], Arc<Principal>>;

/// The tokens that were not revoked; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identities: IdentityStore,
    feed: TokenFeed,
    known: RwLock<Option<Known>>,
    /// Held while the database is asked; when that failed last.
    asking: Arc<tokio::sync::Mutex<Option<Instant>>>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Known {
    state: Uuid,
    /// When the database was asked for it.
    asked: Instant,
    principals: Principals,
}

impl Tokens {
    pub(super) fn new(identities: IdentityStore, feed: TokenFeed) -> Self {
        let waiting = Mutex::new(Waiting { left: WAITING, since: Instant::now() });
        Self(Arc::new(Inner { identities, feed, known: RwLock::default(), asking: Arc::default(), waiting }))
    }

    pub(super) fn feed(&self) -> &TokenFeed {
        &self.0.feed
    }

    /// The caller behind a token that was not revoked; the caller of this checks its expiry.
    pub(super) async fn find(&self, hash: &[u8; 32]) -> Result<Option<Arc<Principal>>, Error> {
        let arrived = Instant::now();
        let found = self.current(hash).await?;
        let follows = self.0.feed.latest().is_some_and(|told| told.asked.elapsed() < FRESH);
        if found.is_some() || !follows || !self.0.may_wait() {
            return Ok(found);
        }
        // Without an answer within that time, the database is asked.
        self.0.feed.confirms(arrived, FRESH).await;
        self.current(hash).await
    }

    /// Loads the tokens again before the next request, since this process changed one.
    pub(super) async fn forget(&self) {
        // A load that is running may not have seen the change.
        let _asking = self.0.asking.lock().await;
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The state of the tokens that are held, confirmed within the last second; `None` while the database does not answer.
    pub(super) async fn state(&self) -> Option<Uuid> {
        self.confirm().await.ok()?;
        self.0.age().filter(|age| *age < FRESH)?;
        self.0.known().as_ref().map(|known| known.state)
    }

    /// As [`Self::find`], without the wait for a token that may have been created a moment ago.
    pub(super) async fn current(&self, hash: &[u8; 32]) -> Result<Option<Arc<Principal>>, Error> {
        if let Some(found) = self.0.look_up(hash, FRESH) {
            return Ok(found);
        }
        self.confirm().await?;
        match self.0.look_up(hash, GRACE) {
            Some(Some(found)) => Ok(Some(found)),
            // Unknown a second ago.
            Some(None) if self.0.age().is_none_or(|age| age >= FRESH) => Err(Error::Unavailable),
            found => Ok(found.flatten()),
        }
    }

    /// Asks the database for what was confirmed more than a second ago; waits for it only shortly while known tokens are accepted.
    async fn confirm(&self) -> Result<(), Error> {
        match self.0.age() {
            Some(age) if age < FRESH => Ok(()),
            Some(age) if age < GRACE => {
                let _ = tokio::time::timeout(ATTEMPT, self.refresh()).await;
                Ok(())
            }
            _ => self.refresh().await,
        }
    }

    /// Asks the database, unless another request just did.
    async fn refresh(&self) -> Result<(), Error> {
        let mut asking = Arc::clone(&self.0.asking).lock_owned().await;
        let age = self.0.age();
        let failed = asking.is_some_and(|failed| failed.elapsed() < ATTEMPT);
        if age.is_some_and(|age| age < FRESH || (age < GRACE && failed)) {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        // In a task of its own, which goes on when the caller hangs up: a flood of such callers would otherwise ask again and again.
        let task = async move {
            let outcome = inner.ask().await;
            *asking = outcome.is_err().then(Instant::now);
            outcome
        };
        tokio::spawn(task.in_current_span()).await.map_err(|_| Error::Internal)?
    }
}

impl Inner {
    fn known(&self) -> RwLockReadGuard<'_, Option<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the database confirmed what is known; `None` when it is known to be old.
    fn age(&self) -> Option<Duration> {
        self.known().as_ref().and_then(|known| self.confirmed(known)).map(|asked| asked.elapsed())
    }

    fn confirmed(&self, known: &Known) -> Option<Instant> {
        match self.feed.latest() {
            Some(told) if told.state == known.state => Some(told.asked.max(known.asked)),
            Some(told) if told.asked > known.asked => None,
            _ => Some(known.asked),
        }
    }

    /// `None`: what is known is older than this.
    #[allow(clippy::option_option, reason = "not certain, certainly none, certainly this one: three cases")]
    fn look_up(&self, hash: &[u8; 32], longest: Duration) -> Option<Option<Arc<Principal>>> {
        let known = self.known();
        let known = known.as_ref()?;
        let asked = self.confirmed(known)?;
        (asked.elapsed() < longest).then(|| known.principals.get(hash).cloned())
    }

    async fn ask(&self) -> Result<(), Error> {
        let asked = Instant::now();
        let state = self.known().as_ref().filter(|known| self.confirmed(known).is_some()).map(|known| known.state);
        if let Some(state) = state
            && self.identities.token_state().await? == Some(state)
        {
            if let Some(known) = &mut *self.known.write().unwrap_or_else(PoisonError::into_inner) {
                known.asked = asked;
            }
            return Ok(());
        }
        let (state, principals) = self.identities.live_tokens().await?;
        let principals = principals.into_iter().map(|(hash, principal)| (hash, Arc::new(principal))).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Known { state, asked, principals });
        Ok(())
    }

    fn may_wait(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

/// How many more unknown tokens may wait.
#[derive(Debug)]
struct Waiting {
    left: u32,
    since: Instant,
}

impl Waiting {
    fn take(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            *self = Self { left: self.left.saturating_add(more).min(WAITING), since: now };
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_does_not_wait() {
        let now = Instant::now();
        let mut waiting = Waiting { left: WAITING, since: now };
        assert_eq!((0..2000).filter(|_| waiting.take(now)).count(), WAITING as usize);
        assert!(!waiting.take(now + REFILL.mul_f64(0.9)));
        assert!(waiting.take(now + REFILL));
        assert!(!waiting.take(now + REFILL));
        let later = now + REFILL * 100;
        assert_eq!((0..2000).filter(|_| waiting.take(later)).count(), WAITING as usize);
    }
}
