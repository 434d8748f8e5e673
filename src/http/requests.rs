//! The requests of one connection, and whether it can be used again after a response.
//!
//! A response may be made before its request was read, as most refusals are. The rest of the request must not be taken for the next
//! one. A small rest is read and dropped, after which the connection serves the next request. Otherwise the response announces
//! `Connection: close`, and [`linger`] ends the connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::http::{HeaderValue, Request, Version, header};
use axum::response::Response;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::net::TcpStream;

use super::linger::{Connection, Idle, Progress, linger};

/// The most of an unread request that is read so that the connection can be used again.
const MAX_REST: usize = 64 << 10;
/// How long a response waits for that rest.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// The requests of a connection, and how far the last one was read.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    progress: Arc<Progress>,
    rest: Arc<Mutex<Unread>>,
    idle_timeout: Duration,
}

/// The rest of the last request's body.
#[derive(Debug, Default)]
enum Unread {
    /// It is being read, or was.
    #[default]
    InUse,
    Left(Rest),
    /// The connection ends, so that it does not matter.
    Dropped,
}

#[derive(Debug)]
struct Rest {
    body: Incoming,
    /// The client sends it only after `100 Continue`, which reading would send.
    is_awaited: bool,
}

impl Requests {
    /// Of a connection whose caller may pause this long.
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { progress: Arc::default(), rest: Arc::default(), idle_timeout }
    }

    /// Watches how far a request's body is read.
    pub(super) fn watch(&self, request: Request<Incoming>) -> Request<Watched> {
        let progress = Arc::clone(&self.progress);
        let has_body = !request.body().is_end_stream();
        progress.count.fetch_add(1, Ordering::Relaxed);
        progress.is_open.store(true, Ordering::Relaxed);
        progress.has_more.store(has_body, Ordering::Relaxed);
        if has_body {
            self.replace_rest(Unread::InUse);
        }
        // HTTP/1.0 has no `100 Continue`.
        let is_awaited = request.version() > Version::HTTP_10 && request.headers().contains_key(header::EXPECT);
        let idle = Idle::new(self.idle_timeout);
        request.map(|body| {
            let rest = has_body.then_some(Rest { body, is_awaited });
            Watched { rest, idle, progress, left: Arc::clone(&self.rest) }
        })
    }

    fn replace_rest(&self, rest: Unread) -> Unread {
        std::mem::replace(&mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner), rest)
    }

    /// Decides whether the connection can be used again after this response to a request of this version.
    pub(super) async fn settle(self, version: Version, mut response: Response) -> Response<Answer> {
        let progress = &self.progress;
        if progress.has_more.load(Ordering::Relaxed) {
            let is_drained = match self.replace_rest(Unread::Dropped) {
                // Boxed, since it would make the future of every request larger.
                Unread::Left(rest) => Box::pin(rest.drain()).await,
                Unread::InUse | Unread::Dropped => false,
            };
            if is_drained {
                progress.has_more.store(false, Ordering::Relaxed);
            } else {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                // hyper adds `keep-alive` for a client of HTTP/1.0 unless the response is of that version, too.
                *response.version_mut() = version;
            }
        }
        response.map(|body| Answer { body, progress: self.progress })
    }

    /// The connection that these requests come by.
    pub(super) fn connection(&self, stream: TcpStream) -> Connection {
        Connection::new(stream, Idle::new(self.idle_timeout), Arc::clone(&self.progress))
    }

    /// Ends the connection, after hyper is done with it.
    pub(super) async fn end(self) {
        if let Some(stream) = self.progress.take_stream() {
            linger(stream).await;
        }
    }
}

impl Rest {
    /// Reads it to its end; `false` when that is far or does not come soon.
    async fn drain(mut self) -> bool {
        let is_far = self.body.size_hint().lower() > MAX_REST as u64;
        if self.is_awaited || is_far {
            return false;
        }
        let mut read = 0;
        let end = async {
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                read += frame.map_err(drop)?.data_ref().map_or(0, Bytes::len);
                if read > MAX_REST {
                    return Err(());
                }
            }
            Ok(())
        };
        matches!(tokio::time::timeout(REST_TIMEOUT, end).await, Ok(Ok(())))
    }
}

/// A request's body. What is left of it when it is dropped can be read by [`Requests::settle`].
#[derive(Debug)]
pub(super) struct Watched {
    /// Nothing after the end, or an error.
    rest: Option<Rest>,
    idle: Idle,
    progress: Arc<Progress>,
    left: Arc<Mutex<Unread>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { rest, idle, progress, .. } = self.get_mut();
        let Some(Rest { body, is_awaited }) = rest else { return Poll::Ready(None) };
        *is_awaited = false;
        let frame = Pin::new(&mut *body).poll_frame(cx);
        let frame = match ready!(idle.check(cx, frame, "sent nothing")) {
            Ok(frame) => frame.map(|frame| frame.map_err(BoxError::from)),
            Err(idle) => Some(Err(idle.into())),
        };
        match &frame {
            Some(Ok(_)) if !body.is_end_stream() => {}
            // The client may send more, which nothing can read.
            Some(Err(_)) => *rest = None,
            Some(Ok(_)) | None => {
                *rest = None;
                progress.has_more.store(false, Ordering::Relaxed);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), |rest| rest.body.size_hint())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            let mut unread = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*unread, Unread::InUse) {
                *unread = Unread::Left(rest);
            }
        }
    }
}

/// A response's body, which tells when hyper has taken all of it.
#[derive(Debug)]
pub(super) struct Answer {
    body: axum::body::Body,
    progress: Arc<Progress>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.progress.is_open.store(false, Ordering::Relaxed);
    }
}
