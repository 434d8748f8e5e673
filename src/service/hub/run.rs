//! The two connections of the hub: one that listens, asks and reads, and one that notifies.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Hub, Page};
use crate::db::Error;
use crate::store::NO_SNAPSHOT;
use crate::store::events::Listener;
use crate::telemetry::catalogue::labels::Direction;
use crate::telemetry::catalogue::queue::HUB_NOTIFICATIONS;

/// Longest time between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two statements, and between two notifications: what happens meanwhile is answered, or told, at once.
const PAUSE: Duration = Duration::from_millis(5);
/// Time before a connection is opened again.
const REOPEN: Duration = Duration::from_millis(250);
/// How long the listening connection stays open without subscriptions.
const LINGER: Duration = Duration::from_secs(10);
/// Pages in one statement.
const READS: usize = 32;

impl Hub {
    /// Wakes those who wait, for as long as it is polled.
    pub async fn run(&self) {
        tokio::join!(self.listen(), self.notify());
    }

    async fn listen(&self) {
        let mut failed = false;
        loop {
            while self.waiting().improvements.is_empty() {
                self.0.work.notified().await;
            }
            let served = self.serve(&mut failed).await;
            self.0.listens.store(false, Ordering::Release);
            let Err(error) = served else { continue };
            if !failed {
                tracing::warn!(%error, "event streams wait until the hub has a connection to the database again");
                failed = true;
            }
            tokio::time::sleep(REOPEN).await;
        }
    }

    /// Serves those who wait by one connection, until there is no subscription.
    async fn serve(&self, failed: &mut bool) -> Result<(), Error> {
        let mut listener = self.0.events.listen().await?;
        self.0.listens.store(true, Ordering::Release);
        // What happened before it is read by position: this may be another server than before, whose transactions have other ids.
        let mut snapshot = listener.changes(NO_SNAPSHOT, &[]).await?.snapshot;
        self.waiting().wake_all();
        if std::mem::take(failed) {
            tracing::info!("the hub has a connection again");
        }
        let (mut asked, mut awaited) = (Instant::now(), Instant::now());
        loop {
            self.answer(&mut listener).await?;
            if self.0.ask.swap(false, Ordering::AcqRel) || asked.elapsed() >= INTERVAL {
                asked = Instant::now();
                self.ask(&mut listener, &mut snapshot).await?;
            }
            if !self.waiting().improvements.is_empty() {
                awaited = Instant::now();
            } else if awaited.elapsed() >= LINGER {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            if !self.waiting().reads.is_empty() {
                continue;
            }
            tokio::select! {
                others = listener.notified(&self.0.process) => {
                    HUB_NOTIFICATIONS.add((Direction::Received,), others?);
                    self.0.ask.store(true, Ordering::Release);
                }
                () = self.0.work.notified() => {}
                () = tokio::time::sleep(INTERVAL.saturating_sub(asked.elapsed())) => {}
            }
        }
    }

    /// Wakes those whose improvements have changed since the snapshot, which then becomes that of the answer.
    async fn ask(&self, listener: &mut Listener, snapshot: &mut String) -> Result<(), Error> {
        let (services, revision) = {
            let waiting = self.waiting();
            (waiting.services(), waiting.revision)
        };
        let changes = listener.changes(snapshot, &services).await?;
        let waiting = self.waiting();
        match &changes.improvements {
            Some(improvements) => waiting.wake(improvements),
            None => waiting.wake_all(),
        }
        if waiting.revision == revision {
            *snapshot = changes.snapshot;
        } else {
            // A subscription of another service came meanwhile. It may have read before this answer's snapshot, which does not
            // cover its service: ask for that time again.
            self.0.ask.store(true, Ordering::Release);
            self.0.work.notify_one();
        }
        Ok(())
    }

    async fn answer(&self, listener: &mut Listener) -> Result<(), Error> {
        let (positions, readers): (Vec<_>, Vec<_>) = self.waiting().take_reads(READS).into_iter().unzip();
        if positions.is_empty() {
            return Ok(());
        }
        for (page, readers) in listener.read(&positions).await?.into_iter().zip(readers) {
            let page: Page = page.into();
            for reader in readers {
                // The reader may be gone.
                let _ = reader.send(Page::clone(&page));
            }
        }
        Ok(())
    }

    async fn notify(&self) {
        loop {
            // Others ask within a second.
            let Err(error) = self.notify_by_one_connection().await else { continue };
            tracing::debug!(%error, "a notification was not sent");
            tokio::time::sleep(REOPEN).await;
        }
    }

    /// Notifies other processes of commits while one of them listens, which is looked up once a second at most.
    async fn notify_by_one_connection(&self) -> Result<(), Error> {
        self.0.committed.notified().await;
        let mut notifier = self.0.events.notifier().await?;
        loop {
            let looked = Instant::now();
            let others = notifier.listeners().await? - i64::from(self.0.listens.load(Ordering::Acquire));
            while others > 0 && looked.elapsed() < INTERVAL {
                notifier.notify(&self.0.process).await?;
                HUB_NOTIFICATIONS.increment((Direction::Sent,));
                tokio::time::sleep(PAUSE).await;
                self.0.committed.notified().await;
            }
            if others <= 0 {
                tokio::time::sleep(INTERVAL.saturating_sub(looked.elapsed())).await;
                self.0.committed.notified().await;
            }
        }
    }
}
