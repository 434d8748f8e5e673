//! The workers of a writer: they gather a batch, commit it and answer its callers.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::pace::Pace;
use super::{Batch, spans};
use crate::db::{Error, reconnecting, retrying};
use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::writer::{WRITER_BATCH_ROWS, WRITER_COMMIT_DURATION, WRITER_SPLIT, WRITER_WAIT};
use crate::telemetry::spans::failed;

/// Requests of one batch. Some dozens nearly saturate the server; the limit bounds the delay of the answer.
pub(super) const MAX_REQUESTS: usize = 512;
/// Rows after which no further request joins a batch.
const MAX_ROWS: usize = 4096;

/// A request in the queue.
pub(super) struct Pending<B: Batch> {
    pub(super) request: B,
    pub(super) since: Instant,
    /// The wait, in the caller's trace; ends when the request is answered.
    pub(super) span: Span,
    pub(super) answer: oneshot::Sender<Result<B::Reply, Error>>,
}

/// What the workers of a writer share.
pub(super) struct Worker<B: Batch> {
    queue: Mutex<mpsc::Receiver<Pending<B>>>,
    pace: Pace,
    stop: CancellationToken,
}

impl<B: Batch> Worker<B> {
    pub(super) fn new(queue: mpsc::Receiver<Pending<B>>, stop: CancellationToken) -> Self {
        Self { queue: Mutex::new(queue), pace: Pace::default(), stop }
    }

    /// Commits batches until the queue is closed and empty.
    pub(super) async fn run(self: Arc<Self>, context: B::Context) {
        let mut pending = Vec::with_capacity(MAX_REQUESTS);
        loop {
            self.gather(&mut pending).await;
            if pending.is_empty() {
                return;
            }
            let (requests, started) = (pending.len(), Instant::now());
            commit(&context, &mut pending).await;
            self.pace.end(requests, started.elapsed());
        }
    }

    /// Takes the next batch, which counts as in flight; nothing when the queue is closed and empty.
    async fn gather(&self, pending: &mut Vec<Pending<B>>) {
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
            pending.push(one);
            if rows >= MAX_ROWS || pending.len() >= MAX_REQUESTS {
                break;
            }
            next = match queue.try_recv() {
                Ok(one) => Some(one),
                Err(_) if rows >= B::FULL => None,
                Err(_) => tokio::select! {
                    biased;
                    () = self.pace.free(pending.len()) => queue.try_recv().ok(),
                    next = queue.recv() => next,
                },
            };
        }
        self.pace.begin();
    }
}

async fn commit<B: Batch>(context: &B::Context, pending: &mut Vec<Pending<B>>) {
    let started = Instant::now();
    let (mut requests, mut answers) = (Vec::with_capacity(pending.len()), Vec::with_capacity(pending.len()));
    let mut waits = Vec::new();
    for Pending { request, since, span, answer } in pending.drain(..) {
        if B::AT_MOST_ONCE && answer.is_closed() {
            continue;
        }
        WRITER_WAIT.observe((B::LABEL,), started.saturating_duration_since(since));
        requests.push(request);
        answers.push(answer);
        if !span.is_none() {
            waits.push(span);
        }
    }
    if requests.is_empty() {
        return;
    }
    let rows: usize = requests.iter().map(B::rows).sum();
    WRITER_BATCH_ROWS.record((B::LABEL,), figure(rows));
    let span = spans::batch::<B>(&waits, requests.len(), rows);
    let replies = resolve(context, &requests).instrument(span.clone()).await;
    // A row that is refused alone is not a failure of the batch.
    if replies.iter().all(Result::is_err)
        && let Some(Err(error)) = replies.first()
    {
        failed(&span, "batch", error);
    }
    // The waits end, and are recorded as ended, before any caller is answered.
    drop((span, waits));
    WRITER_COMMIT_DURATION.observe((B::LABEL,), started.elapsed());
    for (answer, reply) in answers.into_iter().zip(replies) {
        // The caller may be gone.
        let _ = answer.send(reply);
    }
}

/// The result of each request, in order.
async fn resolve<B: Batch>(context: &B::Context, requests: &[B]) -> Vec<Result<B::Reply, Error>> {
    let outcome = if B::AT_MOST_ONCE {
        B::write(context, requests, false).await
    } else {
        // Requests are idempotent, so a further attempt finds out what became of one whose outcome is unknown.
        reconnecting(|unknown| retrying(move || B::write(context, requests, unknown))).await
    };
    match outcome {
        Ok(replies) => replies,
        Err(error) if requests.len() > 1 && error.is_about_data() => {
            WRITER_SPLIT.increment((B::LABEL,));
            let (left, right) = requests.split_at(requests.len() / 2);
            let mut replies = Box::pin(resolve(context, left)).await;
            replies.extend(Box::pin(resolve(context, right)).await);
            replies
        }
        Err(error) => {
            let others = requests.iter().skip(1).map(|_| Err(error.duplicate())).collect::<Vec<_>>();
            std::iter::once(Err(error)).chain(others).collect()
        }
    }
}
