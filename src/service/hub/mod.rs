//! The hub: one poller for everything in this process that waits for changes of improvements.
//!
//! A change reaches those who wait in three ways: a commit of this process wakes them directly; a commit of another process by its
//! notification, which brings the hub's next question forward; and every change by that question, which the hub asks once a second while
//! there are subscriptions. All three only say that it is worth reading. What is delivered is read by position, so that
//! a wake that is lost, late or repeated changes nothing but the time.
//!
//! Reads of many are one statement, and those of the same position are one read. So the number of statements depends on the number of
//! changes and not on the number of those who wait.

mod follower;
mod run;

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot, watch};
use uuid::Uuid;

use crate::domain::clock::Clock;
use crate::domain::improvement::Event;
use crate::store::events::{EventStore, PAGE};
use crate::telemetry::catalogue::queue::HUB_SUBSCRIPTIONS;

pub use follower::Follower;

/// Events of one improvement, shared by all that read them.
type Page = Arc<[Event]>;
/// An improvement, and the event id after which a page starts.
type Position = (String, i64);

/// The hub of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: EventStore,
    clock: Arc<dyn Clock>,
    /// Names this process in its notifications.
    process: String,
    waiting: Mutex<Waiting>,
    /// There is a first subscription, a read, or a reason to ask.
    work: Notify,
    /// Something was committed that other processes may wait for.
    committed: Notify,
    /// Something was committed here that only the database knows exactly.
    ask: AtomicBool,
    /// This process listens.
    listens: AtomicBool,
}

/// Those who wait.
#[derive(Debug, Default)]
struct Waiting {
    improvements: HashMap<String, Topic>,
    /// The services of these improvements, with the number of them.
    services: HashMap<String, usize>,
    /// Rises with each further service.
    revision: u64,
    reads: HashMap<Position, Vec<oneshot::Sender<Page>>>,
}

#[derive(Debug)]
struct Topic {
    service: String,
    changed: watch::Sender<()>,
}

impl Hub {
    pub(super) fn new(events: EventStore, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            events,
            clock,
            process: Uuid::new_v4().simple().to_string(),
            waiting: Mutex::default(),
            work: Notify::new(),
            committed: Notify::new(),
            ask: AtomicBool::new(false),
            listens: AtomicBool::new(false),
        }))
    }

    /// Wakes those who wait for an improvement, here and in other processes. To be called after COMMIT.
    pub(super) fn changed(&self, improvement_id: &str) {
        if let Some(topic) = self.waiting().improvements.get(improvement_id) {
            topic.changed.send_replace(());
        }
        self.0.committed.notify_one();
    }

    /// The same for improvements whose ids the caller does not know.
    pub(super) fn some_changed(&self) {
        self.0.ask.store(true, Ordering::Release);
        self.0.work.notify_one();
        self.0.committed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, improvement_id: &str, service: &str) -> Subscription {
        let mut waiting = self.waiting();
        let changed = if let Some(topic) = waiting.improvements.get(improvement_id) {
            topic.changed.subscribe()
        } else {
            let (sender, changed) = watch::channel(());
            let topic = Topic { service: service.to_owned(), changed: sender };
            waiting.improvements.insert(improvement_id.to_owned(), topic);
            let improvements = waiting.services.entry(service.to_owned()).or_default();
            *improvements += 1;
            if *improvements == 1 {
                waiting.revision += 1;
            }
            changed
        };
        drop(waiting);
        self.0.work.notify_one();
        HUB_SUBSCRIPTIONS.add((), 1.0);
        Subscription { hub: self.clone(), improvement_id: improvement_id.to_owned(), changed, exhausted: false }
    }

    /// The page after a position, read together with those of others.
    async fn read(&self, position: Position) -> Page {
        loop {
            let (sender, page) = oneshot::channel();
            self.waiting().reads.entry(position.clone()).or_default().push(sender);
            self.0.work.notify_one();
            // Otherwise the connection was lost during the read.
            if let Ok(page) = page.await {
                return page;
            }
        }
    }
}

impl Waiting {
    fn wake_all(&self) {
        self.improvements.values().for_each(|topic| topic.changed.send_replace(()));
    }

    fn wake(&self, improvements: &[String]) {
        for topic in improvements.iter().filter_map(|id| self.improvements.get(id)) {
            topic.changed.send_replace(());
        }
    }

    fn services(&self) -> Vec<String> {
        self.services.keys().cloned().collect()
    }

    /// Takes at most so many reads out, without those whose reader is gone.
    fn take_reads(&mut self, most: usize) -> Vec<(Position, Vec<oneshot::Sender<Page>>)> {
        let mut all = mem::take(&mut self.reads).into_iter();
        let live = all.by_ref().filter(|(_, readers)| readers.iter().any(|reader| !reader.is_closed()));
        let taken = live.take(most).collect();
        self.reads = all.collect();
        taken
    }

    fn unsubscribe(&mut self, improvement_id: &str) {
        // The one that unsubscribes is among the receivers.
        let is_last = self.improvements.get(improvement_id).is_some_and(|topic| topic.changed.receiver_count() == 1);
        if is_last
            && let Some(topic) = self.improvements.remove(improvement_id)
            && let Some(improvements) = self.services.get_mut(&topic.service)
        {
            *improvements -= 1;
            if *improvements == 0 {
                self.services.remove(&topic.service);
            }
        }
    }
}

/// One reader of an improvement's events.
#[derive(Debug)]
struct Subscription {
    hub: Hub,
    improvement_id: String,
    changed: watch::Receiver<()>,
    /// Nothing more is to be read until something changes.
    exhausted: bool,
}

impl Subscription {
    /// The next page after an event, which is empty when nothing has happened since.
    async fn page(&mut self, after: i64) -> Page {
        if self.exhausted {
            // Cannot fail: the sender lives as long as its receivers.
            let _ = self.changed.changed().await;
        }
        // Before the read, so that what changes during it is read next.
        self.changed.mark_unchanged();
        let page = self.hub.read((self.improvement_id.clone(), after)).await;
        self.exhausted = page.len() < PAGE;
        page
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.waiting().unsubscribe(&self.improvement_id);
        HUB_SUBSCRIPTIONS.add((), -1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ids: &[&str]) -> (Waiting, Vec<watch::Receiver<()>>) {
        let mut waiting = Waiting::default();
        let mut receivers = Vec::new();
        for id in ids {
            let (changed, receiver) = watch::channel(());
            waiting.improvements.insert((*id).to_owned(), Topic { service: "s".to_owned(), changed });
            *waiting.services.entry("s".to_owned()).or_default() += 1;
            receivers.push(receiver);
        }
        (waiting, receivers)
    }

    #[test]
    fn a_service_is_asked_for_until_the_last_of_its_improvements_is_left() {
        let (mut waiting, mut receivers) = waiting(&["a", "b"]);
        let second = receivers[0].clone();
        waiting.unsubscribe("a");
        assert_eq!(waiting.improvements.len(), 2, "another one waits for it");
        drop(second);
        waiting.unsubscribe("a");
        assert_eq!((waiting.improvements.len(), waiting.services()), (1, vec!["s".to_owned()]));
        waiting.unsubscribe("b");
        assert!(waiting.improvements.is_empty() && waiting.services.is_empty());
        receivers.clear();
    }

    #[test]
    fn reads_of_one_position_are_one_read_and_those_of_nobody_none() {
        let (mut waiting, _receivers) = waiting(&[]);
        let mut readers = Vec::new();
        for (id, after) in [("a", 1), ("a", 1), ("b", 1), ("gone", 1)] {
            let (sender, reader) = oneshot::channel();
            waiting.reads.entry((id.to_owned(), after)).or_default().push(sender);
            if id != "gone" {
                readers.push(reader);
            }
        }
        let (first, rest) = (waiting.take_reads(1), waiting.take_reads(9));
        assert_eq!((first.len(), rest.len()), (1, 1));
        assert_eq!(first.iter().chain(&rest).map(|(_, readers)| readers.len()).sum::<usize>(), 3);
        assert!(waiting.reads.is_empty() || waiting.take_reads(9).is_empty());
    }
}
