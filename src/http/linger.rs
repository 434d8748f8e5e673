//! Connections whose callers do not keep up.
//!
//! A response that its caller does not read, and a request that its caller does not send, end the connection after a while: what they
//! hold in memory is not for callers to keep.
//!
//! Ending a connection whose caller still sends what nobody wants. Closed at once, the caller's next bytes would be answered by a
//! reset, which takes the answer from it before it is read; so the end is in stages (RFC 9112 section 9.6).

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long what a caller still sends is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);

/// Whether the last request of a connection has more to send than was read.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    more: Arc<AtomicBool>,
    idle_timeout: Duration,
}

impl Unread {
    /// Of a connection whose caller may pause this long.
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { more: Arc::default(), idle_timeout }
    }

    /// Watches how far a request's body is read.
    pub(super) fn watch(&self, body: Incoming) -> Watched {
        let watched = Watched { body, idle: Idle::new(self.idle_timeout), unread: self.clone() };
        watched.note();
        watched
    }

    /// The connection that these requests come by.
    pub(super) fn connection(&self, stream: TcpStream) -> Lingering {
        Lingering { stream, idle: Idle::new(self.idle_timeout), unread: self.clone(), stage: Stage::Open }
    }
}

/// Since when nothing has moved.
#[derive(Debug)]
struct Idle {
    timeout: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    const fn new(timeout: Duration) -> Self {
        Self { timeout, until: None }
    }

    /// Passes progress on; what has been pending for too long fails.
    fn check<T>(&mut self, cx: &mut Context<'_>, progress: Poll<T>, what: &str) -> Poll<Result<T, io::Error>> {
        if let Poll::Ready(done) = progress {
            self.until = None;
            return Poll::Ready(Ok(done));
        }
        let timeout = self.timeout;
        ready!(self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("the client {what} for {timeout:?}"))))
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct Watched {
    body: Incoming,
    idle: Idle,
    unread: Unread,
}

impl Watched {
    fn note(&self) {
        self.unread.more.store(!self.body.is_end_stream(), Ordering::Relaxed);
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let frame = match ready!(self.idle.check(cx, frame, "sent nothing")) {
            Ok(frame) => frame.map(|frame| frame.map_err(BoxError::from)),
            Err(idle) => Some(Err(idle.into())),
        };
        match frame {
            None => self.unread.more.store(false, Ordering::Relaxed),
            Some(_) => self.note(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug)]
enum Stage {
    Open,
    /// We have said that no more comes from us.
    Shut(Pin<Box<Sleep>>),
}

/// A connection that is closed in stages while its caller is not done.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    idle: Idle,
    unread: Unread,
    stage: Stage,
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        Poll::Ready(ready!(self.idle.check(cx, written, "read nothing")).flatten())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        Poll::Ready(ready!(self.idle.check(cx, written, "read nothing")).flatten())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, unread, stage, .. } = &mut *self;
        loop {
            match stage {
                Stage::Open => {
                    ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                    if !unread.more.load(Ordering::Relaxed) {
                        return Poll::Ready(Ok(()));
                    }
                    *stage = Stage::Shut(Box::pin(tokio::time::sleep(LINGER)));
                }
                Stage::Shut(end) => {
                    if end.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let mut bytes = [0; 16 << 10];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    // It is done, or gone.
                    if ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty()
                    {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}
