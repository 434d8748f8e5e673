//! Readers that follow one improvement to its end.

use super::{Hub, Page, Subscription};
use crate::domain::improvement::Improvement;
use crate::service::error::Error;
use crate::store::events::PAGE;
use crate::telemetry::catalogue::queue::HUB_DELIVERY_LAG;

/// What happened to an improvement after a position, and what happens from now on. It holds one page, however slow its reader is.
#[derive(Debug)]
pub struct Follower {
    hub: Hub,
    improvement_id: String,
    service: String,
    after: i64,
    /// The page that was read when it was made.
    first: Option<Page>,
    /// Pages of the past are read on the reader's own account; the hub serves the present.
    subscription: Option<Subscription>,
    /// No more is to be read for now.
    exhausted: bool,
    /// Whether the improvement ended with the last event.
    ended: bool,
}

impl Hub {
    /// Follows an improvement from behind the event `after`; `None` when it has ended and nothing happened since.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn follow(&self, improvement: Improvement, after: i64) -> Result<Option<Follower>, Error> {
        let first: Page = self.0.events.page(&improvement.improvement_id, after).await?.into();
        if first.is_empty() && improvement.status.is_final() {
            return Ok(None);
        }
        Ok(Some(Follower {
            hub: self.clone(),
            improvement_id: improvement.improvement_id,
            service: improvement.service_name,
            after,
            first: Some(first),
            subscription: None,
            exhausted: false,
            ended: false,
        }))
    }
}

impl Follower {
    /// The next events, as soon as there are any; `None` when the improvement has ended, or when the past cannot be read.
    pub async fn next(&mut self) -> Option<Page> {
        loop {
            // A retry starts the improvement again, so an end counts only when nothing comes after it.
            if self.exhausted && self.ended {
                return None;
            }
            let page = if let Some(first) = self.first.take() {
                first
            } else if let Some(subscription) = &mut self.subscription {
                let waited = subscription.exhausted;
                let page = subscription.page(self.after).await;
                if waited {
                    self.observe(&page);
                }
                page
            } else if self.exhausted {
                // Its first page covers what happened since the one before.
                self.subscription = Some(self.hub.subscribe(&self.improvement_id, &self.service));
                continue;
            } else {
                self.hub.0.events.page(&self.improvement_id, self.after).await.ok()?.into()
            };
            self.exhausted = page.len() < PAGE;
            if let Some(last) = page.last() {
                (self.after, self.ended) = (last.event_id, last.event.is_final());
                return Some(page);
            }
        }
    }

    fn observe(&self, page: &Page) {
        let since = |event: &crate::domain::improvement::Event| self.hub.0.clock.timestamp() - event.occurred_at;
        if let Some(lag) = page.first().and_then(|event| since(event).to_std().ok()) {
            HUB_DELIVERY_LAG.observe((), lag);
        }
    }
}
