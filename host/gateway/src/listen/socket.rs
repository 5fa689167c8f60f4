//! A connection's socket, which remembers when a request began to arrive, and can give back bytes that were read to see which
//! protocol it speaks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a connection is doing. Times are in milliseconds since it began, and at least 1.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    /// Requests whose answer is not sent yet.
    requests: AtomicUsize,
    /// When the first byte of a request came whose head is not complete; 0 for none.
    head_since: AtomicU64,
    /// When the last answer was sent.
    idle_since: AtomicU64,
    /// Since when the client has not taken what is there for it; 0 where it does.
    stuck_since: AtomicU64,
}

/// A request in flight on a connection, until it is dropped.
pub(crate) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    pub(super) fn new() -> Arc<Activity> {
        Arc::new(Activity {
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        (self.began.elapsed().as_millis() as u64).max(1)
    }

    /// A request's head is complete.
    pub(super) fn request(self: &Arc<Activity>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        InFlight(self.clone())
    }

    fn received(&self) {
        if self.requests.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether there is no request, and has been none for a while.
    pub(super) fn is_idle(&self, limit: Duration) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
            && self.since(self.idle_since.load(Ordering::Relaxed)) >= limit
    }

    /// Whether a request's head has been arriving for too long.
    pub(super) fn is_slow(&self, limit: Duration) -> bool {
        let since = self.head_since.load(Ordering::Relaxed);
        since != 0 && self.requests.load(Ordering::Relaxed) == 0 && self.since(since) >= limit
    }

    fn written(&self, done: bool) {
        let stuck = self.stuck_since.load(Ordering::Relaxed) != 0;
        if done && stuck {
            self.stuck_since.store(0, Ordering::Relaxed);
        } else if !done && !stuck {
            self.stuck_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether the client has long not taken what is there for it.
    pub(super) fn is_stuck(&self, limit: Duration) -> bool {
        let since = self.stuck_since.load(Ordering::Relaxed);
        since != 0 && self.since(since) >= limit
    }

    fn since(&self, then: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(then))
    }
}

/// The socket.
pub(super) struct Socket {
    stream: TcpStream,
    before: Vec<u8>,
    activity: Arc<Activity>,
}

impl Socket {
    /// `before` was read from the stream already and is read again first.
    pub(super) fn new(stream: TcpStream, before: Vec<u8>, activity: Arc<Activity>) -> Socket {
        if !before.is_empty() {
            activity.received();
        }
        Socket { stream, before, activity }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buf.remaining());
            buf.put_slice(&self.before[..length]);
            self.before.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let filled = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() && buf.filled().len() > filled {
            self.activity.received();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.written(written.is_ready());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.written(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
