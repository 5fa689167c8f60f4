//! Requests that another gateway answers: where several share the models among them, each model is in the memory of one, and
//! the others hand its requests on as they came, whatever their protocol. A gateway that does not take a request is left
//! alone for a while; where none does, the request is answered here.

use http::{HeaderName, HeaderValue, Response, Uri, header};

use crate::body::Body;
use crate::call::{Call, Request};
use crate::core::Deadline;
use crate::failure::Failure;
use crate::proxy::{REPLAYED, Sent, gone, identified, incoming, remove_hop_by_hop, source};

/// On a request that another gateway handed on. It goes no further.
///
/// A client may send it too, and gains nothing: the route, and who is let in, are found as for any other request.
const RELAYED: HeaderName = HeaderName::from_static("purlin-relayed");

/// What became of a request.
pub(crate) enum Relayed {
    /// Another gateway answered.
    Answered(Response<Body>),
    /// It is to be answered here.
    Here(Request),
}

/// Hands a request on, if its models are another gateway's.
pub(crate) async fn relay(call: &Call, request: Request, grpc: bool) -> Result<Relayed, Failure> {
    let Some(placed) = &call.route.placed else { return Ok(Relayed::Here(request)) };
    if request.headers().contains_key(RELAYED) {
        return Ok(Relayed::Here(request));
    }
    match call.core.models.elsewhere(&placed.group, &placed.models) {
        // One that is too large is refused here.
        Some(_) if length(&request).is_some_and(|length| length > call.core.config.max_body as u64) => {
            Ok(Relayed::Here(request))
        }
        Some(gateway) => Box::pin(hand_on(call, request, gateway, grpc)).await,
        None => Ok(Relayed::Here(request)),
    }
}

fn length(request: &Request) -> Option<u64> {
    http_body::Body::size_hint(request.body()).exact()
}

async fn hand_on(call: &Call, request: Request, mut gateway: String, grpc: bool) -> Result<Relayed, Failure> {
    let Some(placed) = &call.route.placed else { return Ok(Relayed::Here(request)) };
    // The other gateway knows the model's own limit, and keeps it; this is for one that no longer answers.
    let limit = call.longest().saturating_add(call.core.config.body_timeout);
    let deadline = Deadline::after(call.started, limit);
    let small = !grpc && length(&request).is_some_and(|length| length <= REPLAYED);
    let (mut parts, body) = request.into_parts();
    let (body, _held) = if small {
        let (bytes, held) = call.read_raw(&parts.headers, body).await?;
        (Sent::Whole(bytes), held)
    } else {
        (Sent::shared(body, usize::MAX), None)
    };
    loop {
        let request = outgoing(call, &parts, body.clone(), &gateway, grpc)?;
        let client = if grpc { &call.core.clients.http2 } else { &call.core.clients.http1 };
        let error = match deadline.bound(client.request(request)).await? {
            Ok(response) => return Ok(Relayed::Answered(incoming(response, deadline))),
            Err(error) => error,
        };
        if gone(&error) {
            call.core.models.unreachable(&gateway);
        }
        if !gone(&error) || !body.can_be_sent_again() {
            let reason = source(&error);
            return Err(Failure::unavailable(format!("another gateway did not answer: {reason}")));
        }
        tracing::debug!(gateway, %error, "asking another gateway");
        call.core.metrics.retries.inc();
        match call.core.models.elsewhere(&placed.group, &placed.models) {
            Some(other) => gateway = other,
            None => break,
        }
    }
    match body.back() {
        Some(body) => {
            // Its body is here already.
            parts.headers.remove(header::EXPECT);
            Ok(Relayed::Here(Request::from_parts(parts, body)))
        }
        None => Err(Failure::unavailable("the gateway that has the model went away; try again")),
    }
}

fn outgoing(
    call: &Call,
    parts: &http::request::Parts,
    body: Sent,
    gateway: &str,
    grpc: bool,
) -> Result<http::Request<Sent>, Failure> {
    // By the route's own path: it says which route was found here, whatever host it was found by.
    let path = &parts.uri.path()[call.behind..];
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("http://{gateway}{}{path}{query}", call.route.path(call.view))
        .parse()
        .map_err(|error| Failure::unavailable(format!("{gateway:?} is no gateway: {error}")))?;
    let mut headers = parts.headers.clone();
    remove_hop_by_hop(&mut headers);
    headers.insert(RELAYED, HeaderValue::from_static("1"));
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    if grpc {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(identified(call, parts, uri, headers, body, grpc))
}
