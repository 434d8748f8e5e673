//! Group commit: writes that arrive while a batch commits form the next batch.
//!
//! An idle writer sends what is waiting at once. While a batch commits, and during the batch window after it where the
//! database is slow ([`Pace`](pace::Pace)), only a full batch is sent: two small batches cost two commits. A caller is
//! answered after COMMIT. A batch that is refused for its data is halved until the row that caused it fails alone. A full
//! queue refuses.
//!
//! This module names no aggregate: each store implements [`Batch`] for its requests.

mod pace;
mod spans;
#[cfg(test)]
mod tests;
mod worker;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db::Error;
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::Writer as Label;
use crate::telemetry::catalogue::writer::{WRITER_QUEUED, WRITER_REFUSED};
use worker::{Pending, Worker};

/// Requests that may wait. At 50,000 a second this is a sixth of a second's work.
const QUEUE: usize = 8192;

/// A request that is written together with others of its type.
pub trait Batch: Send + Sync + Sized + 'static {
    /// The label of its metrics.
    const LABEL: Label;
    /// Batches in flight at a time: one commits while the next one is sent.
    const WORKERS: usize = 2;
    /// Rows of a full batch, which is sent although another one commits: some milliseconds of the server's work, compared
    /// with which a commit is cheap.
    const FULL: usize;
    /// Whether the write is for its caller alone. Then it is neither made for a caller that is gone nor repeated when the
    /// outcome of the first attempt is unknown.
    const AT_MOST_ONCE: bool = false;
    /// What the write needs; cloned once for each worker.
    type Context: Clone + Send + Sync + 'static;
    /// The caller's answer.
    type Reply: Send + 'static;

    /// Rows of one request.
    fn rows(&self) -> usize {
        1
    }

    /// Writes all requests in one transaction and answers each, in order. With `outcome_unknown`, an earlier attempt with
    /// the same requests may have committed, so rows that exist may be their own.
    fn write(
        context: &Self::Context,
        batch: &[Self],
        outcome_unknown: bool,
    ) -> impl Future<Output = Result<Vec<Result<Self::Reply, Error>>, Error>> + Send;
}

/// The queue and the workers of one type of request. The workers start with the first request.
pub struct Writer<B: Batch> {
    context: B::Context,
    queue: OnceLock<mpsc::Sender<Pending<B>>>,
    workers: TaskTracker,
    stop: CancellationToken,
}

impl<B: Batch> std::fmt::Debug for Writer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("label", &B::LABEL).finish_non_exhaustive()
    }
}

impl<B: Batch> Writer<B> {
    /// A writer without work.
    #[must_use]
    pub fn new(context: B::Context) -> Self {
        Self { context, queue: OnceLock::new(), workers: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Writes a request in a batch with the others that are waiting; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full; otherwise the error of this request.
    pub async fn submit(&self, request: B) -> Result<B::Reply, Error> {
        let queue = self.queue.get_or_init(|| self.start());
        let (answer, answered) = oneshot::channel();
        let span = spans::wait::<B>(&request);
        queue.try_send(Pending { request, since: Instant::now(), span, answer }).map_err(|_| {
            WRITER_REFUSED.increment((B::LABEL,));
            Error::Busy
        })?;
        WRITER_QUEUED.set((B::LABEL,), figure(QUEUE - queue.capacity()));
        answered.await.unwrap_or(Err(Error::Busy))
    }

    fn start(&self) -> mpsc::Sender<Pending<B>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let worker = Arc::new(Worker::new(receiver, self.stop.clone()));
        for _ in 0..B::WORKERS {
            self.workers.spawn(Arc::clone(&worker).run(self.context.clone()));
        }
        sender
    }

    /// Writes what is waiting and stops the workers.
    pub async fn close(&self) {
        self.stop.cancel();
        self.workers.close();
        self.workers.wait().await;
    }
}
