//! Requests for a model that a server behind the gateway has: they are forwarded as they are, whatever their protocol, and so
//! is the answer. A server that is gone before it answered is replaced by another, as far as the request can be sent again.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, Version, header, request};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::body::{Body, BodyError};
use crate::call::{Call, REQUEST_ID, Request, RequestBody};
use crate::core::{Core, Deadline};
use crate::failure::Failure;
use crate::models::{Lease, Target, Upstream};
use crate::prompt::Prompt;
use crate::served::{Prefill, Served};
use crate::trace::TRACEPARENT;

/// A server that does not take a connection by then is taken to be gone.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections are kept so long for the next request.
const IDLE: Duration = Duration::from_secs(30);
/// Connections that are kept to one server.
const KEPT: usize = 256;
/// Bodies up to here are read before they are sent on, so that they can be sent again.
pub(crate) const REPLAYED: u64 = 1 << 20;
/// Whoever reads prompts for a server counts as busy for so long at most, where nothing says that it is done.
const READING: Duration = Duration::from_secs(5);
/// Headers that tell a server whom to connect to, as those have agreed upon who share the work of one request.
const LEADING: [HeaderName; 4] = [
    HeaderName::from_static("x-prefiller-host-port"),
    HeaderName::from_static("x-encoder-hosts-ports"),
    HeaderName::from_static("x-data-parallel-host-port"),
    HeaderName::from_static("x-kv-cache-source-host-port"),
];
/// Headers that are about one connection.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("proxy-connection"),
];

/// Connections to servers behind the gateway.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) http1: Client<HttpConnector, Sent>,
    /// Over cleartext, without asking first: gRPC.
    pub(crate) http2: Client<HttpConnector, Sent>,
}

impl Clients {
    pub(crate) fn new() -> Clients {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(KEPT);
        let http1 = builder.build(connector.clone());
        Clients { http1, http2: builder.http2_only(true).build(connector) }
    }
}

/// A body that is sent on. One that comes straight from the client is shared, so that it is still there if nobody took
/// anything of it.
#[derive(Clone)]
pub(crate) enum Sent {
    Whole(Bytes),
    Shared(Arc<Shared>),
}

pub(crate) struct Shared {
    body: Mutex<RequestBody>,
    /// Bytes that may still come.
    left: AtomicUsize,
    taken: AtomicBool,
    hint: SizeHint,
}

impl Sent {
    pub(crate) fn shared(body: RequestBody, limit: usize) -> Sent {
        let hint = http_body::Body::size_hint(&body);
        let (body, left) = (Mutex::new(body), AtomicUsize::new(limit));
        Sent::Shared(Arc::new(Shared { body, left, taken: AtomicBool::new(false), hint }))
    }

    /// The body itself, where nobody else has it and nothing of it was taken.
    pub(crate) fn back(self) -> Option<RequestBody> {
        match self {
            Sent::Whole(bytes) => Some(Either::Right(Full::new(bytes))),
            Sent::Shared(shared) => {
                let shared =
                    Arc::into_inner(shared).filter(|shared| !shared.taken.load(Ordering::Relaxed))?;
                Some(shared.body.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    pub(crate) fn can_be_sent_again(&self) -> bool {
        match self {
            Sent::Whole(_) => true,
            Sent::Shared(shared) => !shared.taken.load(Ordering::Relaxed),
        }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Sent::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Sent::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Sent::Shared(shared) => {
                shared.taken.store(true, Ordering::Relaxed);
                let mut body = shared.body.lock().unwrap_or_else(PoisonError::into_inner);
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                let size =
                    frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
                let left = shared.left.load(Ordering::Relaxed);
                if size > left {
                    return Poll::Ready(Some(Err("the body is larger than the gateway takes".into())));
                }
                shared.left.store(left - size, Ordering::Relaxed);
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Sent::Whole(bytes) => bytes.is_empty(),
            Sent::Shared(shared) => shared.hint.exact() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Sent::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Sent::Shared(shared) => shared.hint,
        }
    }
}

/// Forwards a request.
pub(crate) async fn forward(
    call: &mut Call,
    served: &Arc<Served>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let length = http_body::Body::size_hint(request.body()).exact();
    let small = length.is_some_and(|length| length <= REPLAYED);
    if small || served.config.logging.is_some() {
        let (parts, body) = request.into_parts();
        let (bytes, _held) = call.read_raw(&parts.headers, body).await?;
        call.log(served, &bytes, &parts.headers);
        return send(call, served, parts, Sent::Whole(bytes), false).await;
    }
    let limit = call.core.config.max_body;
    if length.is_some_and(|length| length > limit as u64) {
        let message = format!("the body is larger than {limit} bytes, the limit of this gateway");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let (parts, body) = request.into_parts();
    send(call, served, parts, Sent::shared(body, limit), false).await
}

/// Forwards a request whose body was read.
pub(crate) async fn forward_read(
    call: &mut Call,
    served: &Arc<Served>,
    mut parts: request::Parts,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    // It was decompressed when it was read.
    parts.headers.remove(header::CONTENT_ENCODING);
    call.log(served, &body, &parts.headers);
    send(call, served, parts, Sent::Whole(body), false).await
}

/// Forwards a request over gRPC: a stream of messages each way.
pub(crate) async fn forward_grpc(
    call: &mut Call,
    served: &Arc<Served>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let (parts, body) = request.into_parts();
    send(call, served, parts, Sent::shared(body, usize::MAX), true).await
}

async fn send(
    call: &Call,
    served: &Arc<Served>,
    parts: request::Parts,
    body: Sent,
    grpc: bool,
) -> Result<Response<Body>, Failure> {
    let deadline = call.deadline(served);
    let place = served.admission.enter(deadline.at, deadline.limit).await?;
    let mut retries = call.core.config.retries;
    let began = tokio::time::Instant::now();
    let prompt = match &body {
        Sent::Whole(bytes) if served.config.by_prefix || served.prefill.is_some() => Prompt::read(bytes),
        _ => Prompt::default(),
    };
    loop {
        let lease = call.core.lease(served, &prompt.blocks, deadline).await?;
        let upstream = match lease.target() {
            Target::Upstream(upstream) => upstream.clone(),
            Target::Model(_) => {
                let message = format!("model {:?} is not served by containers", served.name);
                return Err(Failure::new(StatusCode::BAD_GATEWAY, message));
            }
        };
        let mut request = outgoing(call, served, &parts, body.clone(), &upstream, grpc)?;
        let reader = served.prefill.as_ref().and_then(|prefill| {
            let (reader, address) = prefill.reader(&call.core, &prompt.blocks)?;
            request.headers_mut().insert(prefill.header.clone(), address);
            Some(reader)
        });
        let client = if grpc { &call.core.clients.http2 } else { &call.core.clients.http1 };
        match deadline.bound(with_reader(client.request(request), reader, prompt.streamed)).await? {
            Ok(response) => {
                served.metrics.predict.observe(began.elapsed().as_secs_f64());
                return Ok(
                    incoming(response, deadline).map(|body| body.hold_until(deadline.at, (place, lease)))
                );
            }
            Err(error) if retries > 0 && gone(&error) && body.can_be_sent_again() => {
                lease.gone();
                tracing::debug!(model = %served.key, %error, "asking another server");
                retries -= 1;
                call.core.metrics.retries.inc();
                drop(lease);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => {
                let reason = source(&error);
                let message = format!("the server of model {:?} did not answer: {reason}", served.name);
                return Err(if gone(&error) {
                    Failure::unavailable(message)
                } else {
                    Failure::new(StatusCode::BAD_GATEWAY, message)
                });
            }
        }
    }
}

/// Whether a server did not take the connection, or closed it before it answered.
pub(crate) fn gone(error: &Error) -> bool {
    use std::error::Error as _;
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    error.is_connect()
        || cause
            .is_some_and(|cause| cause.is_incomplete_message() || cause.is_closed() || cause.is_canceled())
        || cause.and_then(|cause| cause.source()).is_some_and(|cause| cause.is::<std::io::Error>())
}

/// The innermost reason.
pub(crate) fn source(error: &Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

impl Prefill {
    /// The replica that reads a prompt, if one can at once, and its address. Otherwise whoever writes the answer reads it: that is
    /// slower, but it is an answer.
    fn reader(&self, core: &Core, prompt: &[u64]) -> Option<(Lease, HeaderValue)> {
        // Not for what is no prompt, such as a list of models.
        if prompt.is_empty() {
            return None;
        }
        let Some(lease) = core.models.try_lease(&self.key, prompt) else {
            core.models.missed(&self.key);
            return None;
        };
        let Target::Upstream(upstream) = lease.target() else { return None };
        let address = HeaderValue::from_str(&upstream.http).ok()?;
        Some((lease, address))
    }
}

/// What a server answers. Whoever reads the prompt has done so when the answer begins. One that is not streamed begins with its
/// end: there the reader is taken to be done after a while.
async fn with_reader<T>(answer: impl Future<Output = T>, reader: Option<Lease>, streamed: bool) -> T {
    let mut answer = std::pin::pin!(answer);
    if !streamed
        && reader.is_some()
        && let Ok(answered) = tokio::time::timeout(READING, answer.as_mut()).await
    {
        return answered;
    }
    let _reading = reader.filter(|_| streamed);
    answer.await
}

fn outgoing(
    call: &Call,
    served: &Served,
    parts: &request::Parts,
    body: Sent,
    upstream: &Upstream,
    grpc: bool,
) -> Result<http::Request<Sent>, Failure> {
    let host = if grpc { upstream.grpc.as_ref().unwrap_or(&upstream.http) } else { &upstream.http };
    let path = &parts.uri.path()[call.behind..];
    let path = if path.starts_with('/') { path } else { "/" };
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("http://{host}{path}{query}")
        .parse()
        .map_err(|error| Failure::new(StatusCode::BAD_GATEWAY, format!("{host:?} is no server: {error}")))?;
    let mut headers = parts.headers.clone();
    remove_hop_by_hop(&mut headers);
    if grpc {
        // HTTP/2 has it in the address; a header beside it would contradict.
        headers.remove(header::HOST);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
        // Its length may have changed, and the client knows it.
        headers.remove(header::CONTENT_LENGTH);
        // The connection of the client was told to go on already.
        headers.remove(header::EXPECT);
        if let Some(host) = headers.get(header::HOST).cloned() {
            headers.insert("x-forwarded-host", host);
        } else if let Some(host) =
            parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
        {
            headers.insert(header::HOST, host.clone());
            headers.insert("x-forwarded-host", host);
        }
    }
    if call.route.wants_token() {
        // It was for the gateway.
        headers.remove(header::AUTHORIZATION);
    }
    // A server must not connect to whom a client names. It may still believe such a header when its model no longer has one.
    let own = served.prefill.as_ref().map(|prefill| &prefill.header);
    for name in own.into_iter().chain(&LEADING) {
        headers.remove(name);
    }
    Ok(identified(call, parts, uri, headers, body, grpc))
}

/// A request to a server, by the names that the call has: its own and its trace's.
pub(crate) fn identified(
    call: &Call,
    parts: &request::Parts,
    uri: Uri,
    mut headers: HeaderMap,
    body: Sent,
    grpc: bool,
) -> http::Request<Sent> {
    if let Ok(id) = HeaderValue::from_str(&call.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(trace) = call.trace.header() {
        headers.insert(TRACEPARENT, trace);
    }
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.version_mut() = if grpc { Version::HTTP_2 } else { Version::HTTP_11 };
    request
}

pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The answer, whose body must end in time as well.
pub(crate) fn incoming(response: Response<Incoming>, deadline: Deadline) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    parts.version = Version::default();
    if http_body::Body::is_end_stream(&body) {
        return Response::from_parts(parts, Body::boxed(Full::default().map_err(|never| match never {})));
    }
    let body = Timed { body, end: Box::pin(tokio::time::sleep_until(deadline.at)) };
    Response::from_parts(parts, Body::boxed(body))
}

struct Timed {
    body: Incoming,
    end: Pin<Box<tokio::time::Sleep>>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        self.end.poll_unpin(cx).map(|()| Some(Err("the server did not finish its answer in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
