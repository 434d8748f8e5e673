//! Group commit: writes that arrive while a batch is committing form the next one.
//!
//! An idle writer takes what there is, at once. While it commits, and where the database is slow for a pause after it ([`Pace`]), a
//! batch is sent only when it is a large one: two small ones cost two commits. A caller is answered after COMMIT. When a batch is
//! refused for its data it is halved until what is at fault stands alone, so that it fails alone. A full queue refuses.

mod follow;
mod pace;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use self::pace::Pace;
use crate::store::error::Error;
use crate::store::pool::Store;
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::labels::Writer as Label;
use crate::telemetry::catalogue::writer::{
    WRITER_BATCH_ROWS, WRITER_COMMIT_DURATION, WRITER_QUEUED, WRITER_REFUSED, WRITER_SPLIT, WRITER_WAIT,
};
use crate::telemetry::spans;

/// Most requests of one batch. Some dozens nearly saturate the server; more only bound the answer's delay.
const MOST: usize = 512;
/// Rows after which no further request joins a batch.
const FULL: usize = 4096;
/// Requests that may wait. At 50,000 a second this is a sixth of a second's work.
const QUEUE: usize = 8192;

/// What is written together.
pub(super) trait Batch: Send + Sync + Sized + 'static {
    /// The label of its metrics.
    const LABEL: Label;
    /// Most batches under way at a time: one commits while the next one is sent.
    const LANES: usize = 2;
    /// Rows that are sent although another batch is being committed, or was just now: some milliseconds of the server's work, beside which
    /// a commit of their own is cheap.
    const LARGE: usize;
    /// Whether what it writes is for its caller alone: then it is not written for one that is gone, nor a second time where
    /// nobody knows whether the first took effect.
    const HANDS_OUT: bool = false;
    /// What its caller learns.
    type Reply: Send + 'static;

    /// Rows of one request.
    fn rows(&self) -> usize;

    /// Writes all in one transaction; answers for each. `again`: it is not known whether an earlier call with these requests
    /// committed, so what is there already may be theirs.
    fn write(
        store: &Store,
        batch: &[Self],
        again: bool,
    ) -> impl Future<Output = Result<Vec<Result<Self::Reply, Error>>, Error>> + Send;
}

struct Waiting<B: Batch> {
    request: B,
    since: Instant,
    /// The wait, for whoever follows the request; ends when it is answered.
    span: Span,
    answer: oneshot::Sender<Result<B::Reply, Error>>,
}

/// A writer of one kind; its tasks start with the first request.
pub(super) struct Writer<B: Batch> {
    queue: OnceLock<mpsc::Sender<Waiting<B>>>,
    lanes: TaskTracker,
    stop: CancellationToken,
}

impl<B: Batch> Default for Writer<B> {
    fn default() -> Self {
        Self { queue: OnceLock::new(), lanes: TaskTracker::new(), stop: CancellationToken::new() }
    }
}

impl<B: Batch> std::fmt::Debug for Writer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("kind", &B::LABEL).finish_non_exhaustive()
    }
}

impl<B: Batch> Writer<B> {
    /// Writes a request with whatever else is waiting; durable when this answers.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait; else what the write says of this request.
    pub(super) async fn write(&self, store: &Store, request: B) -> Result<B::Reply, Error> {
        let queue = self.queue.get_or_init(|| self.start(store));
        let (answer, answered) = oneshot::channel();
        let span = follow::wait::<B>(&request);
        queue.try_send(Waiting { request, since: Instant::now(), span, answer }).map_err(|_| {
            WRITER_REFUSED.increment((B::LABEL,));
            Error::Busy
        })?;
        WRITER_QUEUED.set((B::LABEL,), figure(QUEUE - queue.capacity()));
        answered.await.unwrap_or(Err(Error::Busy))
    }

    fn start(&self, store: &Store) -> mpsc::Sender<Waiting<B>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared { queue: Mutex::new(receiver), pace: Pace::default(), stop: self.stop.clone() });
        for _ in 0..B::LANES {
            self.lanes.spawn(lane(store.clone(), Arc::clone(&shared)));
        }
        sender
    }

    /// Writes what is waiting and ends.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.lanes.close();
        self.lanes.wait().await;
    }
}

/// What the lanes of a writer have in common.
struct Shared<B: Batch> {
    queue: Mutex<mpsc::Receiver<Waiting<B>>>,
    pace: Pace,
    stop: CancellationToken,
}

impl<B: Batch> Shared<B> {
    /// The next batch, counted as under way; nothing when the queue is closed and empty.
    async fn gather(&self, waiting: &mut Vec<Waiting<B>>) {
        let mut queue = self.queue.lock().await;
        let mut next = tokio::select! {
            next = queue.recv() => next,
            () = self.stop.cancelled() => {
                queue.close();
                queue.recv().await
            }
        };
        let mut rows = 0;
        while let Some(one) = next {
            rows += one.request.rows();
            waiting.push(one);
            if rows >= FULL || waiting.len() >= MOST {
                break;
            }
            next = match queue.try_recv() {
                Ok(one) => Some(one),
                Err(_) if rows >= B::LARGE => None,
                Err(_) => tokio::select! {
                    biased;
                    () = self.pace.free(waiting.len()) => queue.try_recv().ok(),
                    next = queue.recv() => next,
                },
            };
        }
        self.pace.begin();
    }
}

async fn lane<B: Batch>(store: Store, shared: Arc<Shared<B>>) {
    let mut waiting = Vec::with_capacity(MOST);
    loop {
        shared.gather(&mut waiting).await;
        if waiting.is_empty() {
            return;
        }
        let (requests, started) = (waiting.len(), Instant::now());
        commit(&store, &mut waiting).await;
        shared.pace.end(requests, started.elapsed());
    }
}

async fn commit<B: Batch>(store: &Store, waiting: &mut Vec<Waiting<B>>) {
    let started = Instant::now();
    let (mut requests, mut answers) = (Vec::with_capacity(waiting.len()), Vec::with_capacity(waiting.len()));
    let mut followed = Vec::new();
    for Waiting { request, since, span, answer } in waiting.drain(..) {
        if B::HANDS_OUT && answer.is_closed() {
            continue;
        }
        WRITER_WAIT.observe((B::LABEL,), started.saturating_duration_since(since));
        requests.push(request);
        answers.push(answer);
        if !span.is_none() {
            followed.push(span);
        }
    }
    if requests.is_empty() {
        return;
    }
    let rows: usize = requests.iter().map(B::rows).sum();
    WRITER_BATCH_ROWS.record((B::LABEL,), figure(rows));
    let span = follow::batch::<B>(&followed, requests.len(), rows);
    let replies = write(store, &requests).instrument(span.clone()).await;
    // One that is refused alone is no fault of the batch.
    if replies.iter().all(Result::is_err)
        && let Some(Err(error)) = replies.first()
    {
        spans::failed(&span, "batch", error);
    }
    // The waits are over, and known to be, before anybody is answered.
    drop((span, followed));
    WRITER_COMMIT_DURATION.observe((B::LABEL,), started.elapsed());
    for (answer, reply) in answers.into_iter().zip(replies) {
        // A caller that is gone has no use for its answer.
        let _ = answer.send(reply);
    }
}

/// Every request's fate, in order.
async fn write<B: Batch>(store: &Store, requests: &[B]) -> Vec<Result<B::Reply, Error>> {
    let mut outcome = B::write(store, requests, false).await;
    if !B::HANDS_OUT && matches!(&outcome, Err(error) if error.is_broken_connection()) {
        // Whether it committed is not known; requests are idempotent, so a second time tells.
        outcome = B::write(store, requests, true).await;
    }
    match outcome {
        Ok(replies) => replies,
        Err(error) if requests.len() > 1 && error.is_about_data() => {
            WRITER_SPLIT.increment((B::LABEL,));
            let (left, right) = requests.split_at(requests.len() / 2);
            let mut replies = Box::pin(write(store, left)).await;
            replies.extend(Box::pin(write(store, right)).await);
            replies
        }
        Err(error) => {
            let others = requests.iter().skip(1).map(|_| Err(error.again())).collect::<Vec<_>>();
            std::iter::once(Err(error)).chain(others).collect()
        }
    }
}
