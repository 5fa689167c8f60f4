//! One request on its way: the route that it came by, its identity, its time, and how its answer is put together.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::{self, Body, Buffered};
use crate::core::{Core, Deadline};
use crate::failure::Failure;
use crate::payload::{About, Side, Tee};
use crate::served::Served;
use crate::table::{Place, Route, Sticky};
use crate::trace::{TRACEPARENT, Trace};

/// A request's body: from a connection, or from a graph.
pub(crate) type RequestBody = Either<Incoming, Full<Bytes>>;
/// A request.
pub(crate) type Request = http::Request<RequestBody>;

/// The header that names a request.
pub(crate) const REQUEST_ID: &str = "x-request-id";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One request on its way.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) route: Arc<Route>,
    pub(crate) view: usize,
    pub(crate) started: Instant,
    /// Chosen by the client, or by the gateway.
    pub(crate) request_id: String,
    /// The trace that it is part of.
    pub(crate) trace: Trace,
    /// How much of the request's path is the route's.
    pub(crate) behind: usize,
    /// How long the client waits, where it said.
    pub(crate) limit: Option<Duration>,
    /// How many graphs it came through.
    pub(crate) depth: usize,
    /// The model that it reached.
    pub(crate) served: Option<Arc<Served>>,
    /// Whether another gateway answered it, which counts it as well.
    pub(crate) relayed: bool,
    /// What the payload log says about it, if it is logged.
    pub(crate) logged: Option<Arc<About>>,
    /// What the client named the event that it is.
    event_id: Option<String>,
}

impl Call {
    /// A request that was led to a route.
    pub(crate) fn new(core: Arc<Core>, place: Place, behind: usize, headers: &HeaderMap) -> Call {
        let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| id.len() <= 128);
        let request_id = own.map_or_else(|| core.ids.next(), str::to_owned);
        Call {
            core,
            route: place.route,
            view: place.view,
            started: Instant::now(),
            request_id,
            trace: headers.get(TRACEPARENT).and_then(Trace::parse).unwrap_or_else(Trace::begin),
            behind,
            limit: None,
            depth: 0,
            served: None,
            relayed: false,
            logged: None,
            event_id: headers.get("ce-id").and_then(|id| id.to_str().ok()).map(str::to_owned),
        }
    }

    /// The model for a name in the request.
    pub(crate) fn model(&mut self, name: &str, headers: &HeaderMap) -> Result<Arc<Served>, Failure> {
        let key = self.sticky_key(headers);
        let served = self.route.by_name(self.view, name, key.as_deref())?.clone();
        self.served = Some(served.clone());
        Ok(served)
    }

    /// The model that a header names, on a route that has such a header.
    pub(crate) fn named_by_header<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = headers.get(self.route.model_header.as_ref()?)?.to_str().ok()?;
        (!name.is_empty()).then_some(name)
    }

    /// One of the route's backends, where a request names no model.
    pub(crate) fn any_model(&mut self, headers: &HeaderMap) -> Result<Arc<Served>, Failure> {
        let key = self.sticky_key(headers);
        let served = self.route.any(self.view, key.as_deref())?.clone();
        self.served = Some(served.clone());
        Ok(served)
    }

    fn sticky_key(&self, headers: &HeaderMap) -> Option<Vec<u8>> {
        match self.route.sticky.as_ref()? {
            Sticky::Header(name) => headers.get(name).map(|value| value.as_bytes().to_vec()),
            Sticky::Cookie(name) => headers
                .get_all(header::COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(';'))
                .filter_map(|pair| pair.trim().split_once('='))
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_bytes().to_vec()),
        }
    }

    /// The longest that any model of the route may take.
    pub(crate) fn longest(&self) -> Duration {
        let models = self.route.models(self.view);
        let limits =
            models.iter().map(|served| served.limit(self.route.timeout, self.core.config.request_timeout));
        limits.max().unwrap_or(self.core.config.request_timeout)
    }

    /// When the request's time at a model is over.
    pub(crate) fn deadline(&self, served: &Served) -> Deadline {
        let limit = served.limit(self.route.timeout, self.core.config.request_timeout);
        Deadline::after(self.started, self.limit.map_or(limit, |own| own.min(limit)))
    }

    /// Reads the body to its end.
    pub(crate) async fn read(
        &mut self,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Result<(Bytes, Option<Buffered>), Failure> {
        let (bytes, held) = self.read_raw(headers, body).await?;
        let bytes = decompress(headers, bytes, self.core.config.max_body)?;
        if let Some(served) = self.served.clone() {
            self.log(&served, &bytes, headers);
        }
        Ok((bytes, held))
    }

    /// Reads the body to its end, and leaves it compressed if it is.
    pub(crate) async fn read_raw(
        &self,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Result<(Bytes, Option<Buffered>), Failure> {
        body::read(headers, body, self.core.read_limits(), &self.core.buffers).await
    }

    /// Puts a request into the payload log, where its model has one.
    pub(crate) fn log(&mut self, served: &Served, body: &Bytes, headers: &HeaderMap) {
        let Some(logging) = &served.config.logging else { return };
        let about = Arc::new(About {
            logging: logging.clone(),
            id: self.event_id.clone().unwrap_or_else(|| self.request_id.clone()),
            namespace: self.route.namespace.clone(),
            route: self.route.name.clone(),
            traceparent: self.trace.header(),
        });
        let content_type = headers.get(header::CONTENT_TYPE).cloned();
        self.core.payloads.log(&about, Side::Request, content_type, body.clone());
        self.logged = Some(about);
    }

    /// Puts the answer into the payload log, where the request is in it.
    pub(crate) fn log_answer(&mut self, response: Response<Body>) -> Response<Body> {
        let Some(about) = self.logged.take().filter(|_| response.status().is_success()) else {
            return response;
        };
        let tee = Tee {
            log: self.core.payloads.clone(),
            about,
            content_type: response.headers().get(header::CONTENT_TYPE).cloned(),
            heard: BytesMut::new(),
        };
        response.map(|body| body.heard_by(tee))
    }
}

/// The body as it was before the client compressed it.
fn decompress(headers: &HeaderMap, bytes: Bytes, limit: usize) -> Result<Bytes, Failure> {
    use std::io::Read as _;
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(bytes) };
    let mut out = Vec::new();
    let room = limit as u64 + 1;
    let read = match encoding.as_bytes() {
        b"identity" | b"" => return Ok(bytes),
        b"gzip" => flate2::read::GzDecoder::new(&bytes[..]).take(room).read_to_end(&mut out),
        b"deflate" => flate2::read::ZlibDecoder::new(&bytes[..]).take(room).read_to_end(&mut out),
        other => {
            let other = String::from_utf8_lossy(other);
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("Content-Encoding {other:?} is not supported; send gzip, deflate or identity"),
            ));
        }
    };
    read.map_err(|error| Failure::invalid(format!("the compressed body cannot be read: {error}")))?;
    if out.len() > limit {
        return Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes once it is decompressed"),
        ));
    }
    Ok(out.into())
}

/// Refuses bodies of a type that no protocol here has. `curl -d` announces a form by default, and is meant well.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = matches!(
        kind.as_str(),
        "" | "application/json"
            | "application/octet-stream"
            | "application/x-www-form-urlencoded"
            | "text/plain"
            | "text/json"
    );
    if known || kind.ends_with("+json") {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("Content-Type {text:?} is not supported; send application/json or application/octet-stream"),
    ))
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// An answer in JSON from a value.
pub(crate) fn json_value(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => {
            let failure = Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no JSON: {error}"));
            failed(&failure, ErrorForm::Plain)
        }
    }
}

/// The form in which a protocol tells errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// `{"error": "..."}`
    Plain,
    /// `{"error": {"message": "...", ...}}`
    OpenAi,
}

/// The body of an error.
pub(crate) fn error_body(failure: &Failure, form: ErrorForm) -> Vec<u8> {
    let value = match form {
        ErrorForm::Plain => serde_json::json!({"error": failure.message}),
        ErrorForm::OpenAi => {
            let kind = match failure.status {
                StatusCode::UNAUTHORIZED => "authentication_error",
                StatusCode::NOT_FOUND => "not_found_error",
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
                status if status.is_client_error() => "invalid_request_error",
                _ => "internal_server_error",
            };
            let code = failure.status.as_u16();
            serde_json::json!({
                "error": {"message": failure.message, "type": kind, "param": null, "code": code},
            })
        }
    };
    value.to_string().into_bytes()
}

/// A failure as an answer.
pub(crate) fn failed(failure: &Failure, form: ErrorForm) -> Response<Body> {
    let mut response = json(failure.status, error_body(failure, form));
    let headers = response.headers_mut();
    if let Some(after) = failure.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if let Some(allow) = failure.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(failure.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        // What is left of the body is not read: the connection cannot be used again.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
