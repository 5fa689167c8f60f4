//! Bodies: what is sent back, in one piece, in a few or as a stream; and a request's body read to its end within its limits.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::listen::InFlight;
use crate::payload::Tee;

/// Any error of a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
type Boxed = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// The body of an answer. It may hold something until it is sent or dropped, such as a place among the requests in flight.
pub(crate) struct Body {
    content: Content,
    #[expect(dead_code, reason = "held for its drop")]
    held: Option<oneshot::Sender<()>>,
    in_flight: Option<InFlight>,
    tee: Option<Box<Tee>>,
}

enum Content {
    Whole(Bytes),
    Parts(VecDeque<Bytes>),
    Stream(Boxed),
}

impl Body {
    /// In one piece.
    pub(crate) fn whole(content: impl Into<Bytes>) -> Body {
        Body { content: Content::Whole(content.into()), held: None, in_flight: None, tee: None }
    }

    /// In several pieces, which are not copied together.
    pub(crate) fn parts(parts: impl IntoIterator<Item = Bytes>) -> Body {
        let parts = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Body { content: Content::Parts(parts), held: None, in_flight: None, tee: None }
    }

    /// Pieces in the making.
    pub(crate) fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        use futures::StreamExt as _;
        Body::boxed(http_body_util::StreamBody::new(stream.map(|bytes| Ok(Frame::data(bytes)))))
    }

    /// Any other body.
    pub(crate) fn boxed<B>(body: B) -> Body
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Body { content: Content::Stream(Box::pin(body)), held: None, in_flight: None, tee: None }
    }

    /// Holds something until the body is sent or dropped, and no longer than until the deadline: a client that does not
    /// read its answer keeps nothing from others.
    pub(crate) fn hold_until(self, deadline: Instant, what: impl Send + 'static) -> Body {
        let (held, dropped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let _ = tokio::time::timeout_at(deadline, dropped).await;
            drop(what);
        });
        Body { held: Some(held), ..self }
    }

    /// The request is in flight until the body is sent or dropped.
    pub(crate) fn in_flight(mut self, in_flight: InFlight) -> Body {
        self.in_flight = Some(in_flight);
        self
    }

    /// Somebody listens to the content.
    pub(crate) fn heard_by(mut self, tee: Tee) -> Body {
        self.tee = Some(Box::new(tee));
        self
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::whole(Bytes::new())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Parts(parts) => Poll::Ready(parts.pop_front().map(|part| Ok(Frame::data(part)))),
            Content::Stream(stream) => stream.as_mut().poll_frame(cx),
        };
        if let (Some(tee), Poll::Ready(Some(Ok(frame)))) = (&mut self.tee, &frame)
            && let Some(data) = frame.data_ref()
        {
            tee.hear(data);
        }
        // A body whose length is known is not polled again once it was all sent.
        let ended = matches!(frame, Poll::Ready(None)) || self.is_end_stream();
        if ended && let Some(tee) = self.tee.take() {
            tee.end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Parts(parts) => parts.is_empty(),
            Content::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Parts(parts) => SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum()),
            Content::Stream(stream) => stream.size_hint(),
        }
    }
}

/// How much of all requests' bodies may be in memory at once. Small bodies are not counted.
#[derive(Debug)]
pub(crate) struct Buffers {
    used: AtomicUsize,
    most: usize,
}

/// A part of the memory for bodies; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffered {
    buffers: Arc<Buffers>,
    size: usize,
}

impl Buffers {
    /// So many bytes.
    pub(crate) fn new(most: usize) -> Arc<Buffers> {
        Arc::new(Buffers { used: AtomicUsize::new(0), most })
    }

    fn take(self: &Arc<Buffers>, size: usize) -> Result<Buffered, Failure> {
        let before = self.used.fetch_add(size, Ordering::Relaxed);
        let taken = Buffered { buffers: self.clone(), size };
        if before.saturating_add(size) > self.most {
            return Err(Failure::unavailable("too many large requests are being read; try again"));
        }
        Ok(taken)
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.buffers.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// The limits within which a request's body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    /// Bytes.
    pub(crate) size: usize,
    /// From the head to the last byte.
    pub(crate) time: Duration,
}

/// Bodies up to here are not counted among the large ones.
const SMALL: usize = 64 << 10;

/// Reads a body to its end. What comes in one piece is not copied.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    mut body: B,
    limits: ReadLimits,
    buffers: &Arc<Buffers>,
) -> Result<(Bytes, Option<Buffered>), Failure>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let too_large = || {
        let message = format!("the body is larger than {} bytes, the limit of this gateway", limits.size);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|length| length.parse::<u64>().ok()),
        None => body.size_hint().exact(),
    };
    if announced.is_some_and(|length| length > limits.size as u64) {
        return Err(too_large());
    }
    let whole = pin!(async {
        let mut first = Bytes::new();
        let mut more: Option<BytesMut> = None;
        let mut held = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::invalid(format!("the body ended before its announced length or was cut: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if first.is_empty() && more.is_none() {
                first = data;
                if first.len() > limits.size {
                    return Err(too_large());
                }
                continue;
            }
            if held.is_none() {
                let expected = announced.map_or(limits.size, |length| length as usize);
                if expected > SMALL {
                    held = Some(buffers.take(expected)?);
                }
            }
            let all = more.get_or_insert_with(|| {
                // A client that announces much and sends little gets no more than this for its word.
                let room = announced.unwrap_or(0).min(1 << 20) as usize;
                let mut all = BytesMut::with_capacity(room.max(first.len() + data.len()));
                all.extend_from_slice(&first);
                all
            });
            if all.len() + data.len() > limits.size {
                return Err(too_large());
            }
            all.extend_from_slice(&data);
        }
        Ok((more.map_or(first, BytesMut::freeze), held))
    });
    match tokio::time::timeout(limits.time, whole).await {
        Ok(read) => read,
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {:?}", limits.time),
        )),
    }
}
