//! Connections whose clients do not keep up.
//!
//! A response that its client does not read, and a request that its client does not send, end the connection after a while: what they
//! hold in memory is not for clients to keep.
//!
//! A connection whose client still sends what nothing reads ends in stages (RFC 9112 section 9.6). Closed at once, the client's next
//! bytes would be answered by a reset, which removes the response from the client before it is read.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, timeout};

use super::refused_head;

/// How long what a client sends to a connection that ends is read and dropped. Clients that send a whole request before they read the
/// response need it; those that have read the response close their side, which ends it.
const LINGER: Duration = Duration::from_secs(30);
/// How long such a client may pause.
const LINGER_PAUSE: Duration = Duration::from_secs(2);

/// Since when nothing has moved.
#[derive(Debug)]
pub(super) struct Idle {
    timeout: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { timeout, until: None }
    }

    /// Passes progress on; what has been pending for too long fails.
    pub(super) fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<T>,
        what: &str,
    ) -> Poll<Result<T, io::Error>> {
        if let Poll::Ready(done) = progress {
            self.until = None;
            return Poll::Ready(Ok(done));
        }
        let timeout = self.timeout;
        ready!(self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("the client {what} for {timeout:?}"))))
    }
}

/// Shared by a connection, its requests and its responses, which are polled by one task.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The number of requests that hyper has passed on.
    pub(super) count: AtomicU64,
    /// Whether the last of them has a response that hyper has not taken in full.
    pub(super) is_open: AtomicBool,
    /// Whether the client has more to send than was read.
    pub(super) has_more: AtomicBool,
    /// The connection, when hyper is done with it and its client may not be.
    stream: Mutex<Option<TcpStream>>,
}

impl Progress {
    pub(super) fn take_stream(&self) -> Option<TcpStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Ends a connection that hyper is done with, whatever ended it.
pub(super) async fn linger(mut stream: TcpStream) {
    // Again, since hyper does not after a request that asked for an upgrade.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut bytes = vec![0; 16 << 10];
    let read = async { while let Ok(Ok(1..)) = timeout(LINGER_PAUSE, stream.read(&mut bytes)).await {} };
    let _ = timeout(LINGER, read).await;
}

/// A connection as hyper uses it. When hyper is done with it, it is left in [`Progress`] if its client may still send.
#[derive(Debug)]
pub(super) struct Connection {
    /// There until this is dropped.
    stream: Option<TcpStream>,
    idle: Idle,
    progress: Arc<Progress>,
    /// The number of requests whose responses are written.
    flushed: u64,
    /// What is still to be written in place of a response of hyper's own.
    refusal: Bytes,
}

impl Connection {
    pub(super) const fn new(stream: TcpStream, idle: Idle, progress: Arc<Progress>) -> Self {
        Self { stream: Some(stream), idle, progress, flushed: 0, refusal: Bytes::new() }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether every request was answered, so that what hyper writes now is an answer to something that it could not read.
    fn is_between_requests(&self) -> bool {
        !self.progress.is_open.load(Ordering::Relaxed) && self.progress.count.load(Ordering::Relaxed) == self.flushed
    }

    fn write_or_replace(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_between_requests() {
            let head: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            if let Some(refusal) = refused_head::problem(&head) {
                self.refusal = refusal;
                self.progress.has_more.store(true, Ordering::Relaxed);
                return Poll::Ready(Ok(head.len()));
            }
        }
        self.write_through(cx, slices)
    }

    fn write_through(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, slices);
        Poll::Ready(ready!(self.idle.check(cx, written, "read nothing")).flatten())
    }

    fn write_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refusal.is_empty() {
            let rest = self.refusal.clone();
            let written = ready!(self.write_through(cx, &[io::IoSlice::new(&rest)]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.refusal = rest.slice(written..);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.progress.has_more.load(Ordering::Relaxed) {
            *self.progress.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
            return;
        }
        // A request that came behind the last response is lost, but the response is not.
        let mut bytes = [0; 1 << 10];
        while let Ok(1..) = stream.try_read(&mut bytes) {}
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_or_replace(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_or_replace(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_refusal(cx))?;
        if !self.progress.is_open.load(Ordering::Relaxed) {
            self.flushed = self.progress.count.load(Ordering::Relaxed);
        }
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_refusal(cx))?;
        self.stream()?.poll_shutdown(cx)
    }
}
