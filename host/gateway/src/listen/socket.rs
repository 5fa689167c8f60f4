//! A connection's socket, which remembers when a request began to arrive, can give back bytes that were read to see which
//! protocol it speaks, and on a busy thread sends answers together.
//!
//! Each answer wakes its client. Where that is on the same machine, or the network's interrupts are, it takes the processor
//! from the requests that are ready behind the answer, once for each. On a thread that is busy the first write after
//! something was read therefore goes to the end of the thread's queue: what is ready is computed first, and the answers
//! leave one right after the other. A thread that has sent nothing for a while sends at once.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A thread is busy that has sent something no longer ago than this: a request to a small model takes some 100 µs.
const BUSY: Duration = Duration::from_micros(250);

thread_local! {
    /// When this thread last sent something.
    static SENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

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
    /// Whether something was read since the last write.
    asked: bool,
}

impl Socket {
    /// `before` was read from the stream already and is read again first.
    pub(super) fn new(stream: TcpStream, before: Vec<u8>, activity: Arc<Activity>) -> Socket {
        if !before.is_empty() {
            activity.received();
        }
        Socket { stream, before, activity, asked: false }
    }

    /// Whether a write is to wait for its turn. It does so once.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        let now = Instant::now();
        let busy = SENT.replace(Some(now)).is_some_and(|sent| now.duration_since(sent) < BUSY);
        let waits = std::mem::take(&mut self.asked) && busy;
        if waits {
            cx.waker().wake_by_ref();
        }
        waits
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
            self.asked = true;
            return Poll::Ready(Ok(()));
        }
        let filled = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() && buf.filled().len() > filled {
            self.activity.received();
            self.asked = true;
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
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
        if self.waits(cx) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.written(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a client");
        let (stream, _) = listener.accept().await.expect("its connection");
        (client, Socket::new(stream, Vec::new(), Activity::new()))
    }

    async fn asks(client: &mut TcpStream, socket: &mut Socket) {
        client.write_all(b"?").await.expect("it is sent");
        assert_eq!(socket.read_u8().await.expect("it arrives"), b'?');
    }

    /// How often the thread came back to a write, the last time to do it.
    async fn writes(socket: &mut Socket) -> usize {
        let mut polls = 0;
        let write = poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut *socket).poll_write(cx, b"!")
        });
        assert_eq!(write.await.expect("it is written"), 1);
        polls
    }

    #[tokio::test]
    async fn an_answer_lets_others_go_first_where_the_thread_is_busy() {
        let (mut client, mut socket) = pair().await;
        asks(&mut client, &mut socket).await;
        SENT.set(None);
        assert_eq!(writes(&mut socket).await, 1);

        asks(&mut client, &mut socket).await;
        // It counts as now, however long the test is held up.
        SENT.set(Some(Instant::now() + Duration::from_secs(60)));
        assert_eq!(writes(&mut socket).await, 2);
        // What else belongs to the answer follows at once.
        assert_eq!(writes(&mut socket).await, 1);

        let mut answers = [0; 3];
        client.read_exact(&mut answers).await.expect("all are sent");
        assert_eq!(&answers, b"!!!");
    }
}
