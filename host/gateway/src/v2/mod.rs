//! The Open Inference Protocol over REST.

mod generate;
mod request;
mod response;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use purlin_nn::{InferRequest, InferResponse, ModelMetadata, TensorInfo};
use serde_json::{Value, json};

pub(crate) use request::resolve_shape;
pub use request::{InferCall, parse_infer};

use crate::body::{Body, Buffered};
use crate::call::{Call, Request, RequestBody, check_content_type, json as json_body, json_value};
use crate::core::{Core, Deadline, text_only};
use crate::endpoint::{Endpoint, Name};
use crate::failure::Failure;
use crate::fields::{Fields, object};
use crate::models::ModelState;
use crate::proxy;
use crate::served::Served;

/// How much of a body is JSON, where binary data follow it.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// What this server has beyond the protocol, by the names that Triton gave it.
pub(crate) const EXTENSIONS: [&str; 4] = ["binary_tensor_data", "model_repository", "parameters", "generate"];

/// The server's own state.
pub(crate) fn server(core: &Core, endpoint: &Endpoint<'_>) -> Response<Body> {
    match endpoint {
        Endpoint::V2Live => json_body(StatusCode::OK, &b"{\"live\":true}"[..]),
        Endpoint::V2Ready if core.is_draining() => {
            json_body(StatusCode::SERVICE_UNAVAILABLE, &b"{\"ready\":false}"[..])
        }
        Endpoint::V2Ready => json_body(StatusCode::OK, &b"{\"ready\":true}"[..]),
        _ => json_value(&json!({
            "name": core.config.name,
            "version": core.config.version,
            "extensions": EXTENSIONS,
        })),
    }
}

/// The model for a name and a version.
fn served(call: &mut Call, name: &Name<'_>, headers: &HeaderMap) -> Result<Arc<Served>, Failure> {
    let served = call.model(&name.model, headers)?;
    check_version(&served, name.version.as_deref())?;
    Ok(served)
}

/// A version that a client names must be the one that there is.
pub(crate) fn check_version(served: &Served, version: Option<&str>) -> Result<(), Failure> {
    let own = &served.config.version;
    match version {
        Some(version) if !version.is_empty() && !own.is_empty() && version != own => {
            Err(Failure::not_found(format!("model {:?} has version {own:?}, not {version:?}", served.name)))
        }
        _ => Ok(()),
    }
}

/// `GET /v2/models/NAME`
pub(crate) async fn metadata(
    call: &mut Call,
    name: &Name<'_>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let served = served(call, name, request.headers())?;
    if served.config.container {
        return proxy::forward(call, &served, request).await;
    }
    let metadata = call.core.metadata(&served, call.deadline(&served)).await?;
    Ok(json_value(&metadata_value(&served, &metadata)))
}

fn metadata_value(served: &Served, metadata: &ModelMetadata) -> Value {
    let tensors = |infos: &[TensorInfo]| -> Vec<Value> {
        let one = |info: &TensorInfo| json!({"name": info.name, "datatype": info.datatype.as_str(), "shape": info.shape});
        infos.iter().map(one).collect()
    };
    json!({
        "name": served.name,
        "versions": versions(served),
        "platform": metadata.platform,
        "inputs": tensors(&metadata.inputs),
        "outputs": tensors(&metadata.outputs),
    })
}

/// The versions that metadata show.
pub(crate) fn versions(served: &Served) -> Vec<String> {
    if served.config.version.is_empty() { Vec::new() } else { vec![served.config.version.clone()] }
}

/// `GET /v2/models/NAME/ready`
pub(crate) async fn ready(
    call: &mut Call,
    name: &Name<'_>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let served = served(call, name, request.headers())?;
    let ready = call.core.is_ready(&served);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json_body(status, json!({"name": served.name, "ready": ready}).to_string()))
}

/// `POST /v2/models/NAME/infer`
pub(crate) async fn infer(
    call: &mut Call,
    name: &Name<'_>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let served = served(call, name, request.headers())?;
    if served.config.container {
        return Box::pin(proxy::forward(call, &served, request)).await;
    }
    let (parts, body) = request.into_parts();
    let Content { bytes, header_length, _held } = content(call, &parts.headers, body).await?;
    infer_bytes(call, &served, &bytes, header_length, false).await
}

/// `POST /v2/models/NAME/explain`
pub(crate) async fn explain(
    call: &mut Call,
    name: &Name<'_>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let served = served(call, name, request.headers())?;
    let explainer = call.route.explainer.clone().unwrap_or(served);
    if explainer.config.container {
        return proxy::forward(call, &explainer, request).await;
    }
    let (parts, body) = request.into_parts();
    let Content { bytes, header_length, _held } = content(call, &parts.headers, body).await?;
    infer_bytes(call, &explainer, &bytes, header_length, true).await
}

/// `POST /v2/models/NAME/generate` and `.../generate_stream`. A body with tensors is a request for inference.
pub(crate) async fn generate(
    call: &mut Call,
    name: &Name<'_>,
    stream: bool,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let served = served(call, name, request.headers())?;
    if served.config.container {
        return proxy::forward(call, &served, request).await;
    }
    let (parts, body) = request.into_parts();
    let Content { bytes, header_length, _held } = content(call, &parts.headers, body).await?;
    if header_length.is_some() || request::has_inputs(&bytes) {
        return infer_bytes(call, &served, &bytes, header_length, false).await;
    }
    generate::generate(call, &served, &bytes, stream).await
}

/// `POST /v2/repository/index`
pub(crate) async fn index(call: &mut Call, request: Request) -> Result<Response<Body>, Failure> {
    let (parts, body) = request.into_parts();
    let (bytes, _held) = call.read(&parts.headers, body).await?;
    let ready = match bytes.is_empty() {
        true => false,
        false => Fields(&object(&bytes)?).flag("ready")?,
    };
    let entries: Vec<Value> = index_of(call, ready)
        .into_iter()
        .map(|entry| {
            json!({"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason})
        })
        .collect();
    Ok(json_value(&entries))
}

/// A model in an index.
pub(crate) struct IndexEntry {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
}

/// The models of a route, and whether each can answer. A model that the next request wakes can.
pub(crate) fn index_of(call: &Call, only_ready: bool) -> Vec<IndexEntry> {
    let entry = |served: &Arc<Served>| {
        let (state, reason) = match call.core.models.state(&served.key) {
            ModelState::Ready => ("READY", String::new()),
            ModelState::Idle => ("READY", "idle; the next request loads it".to_owned()),
            ModelState::Loading => ("LOADING", String::new()),
            ModelState::Failed(why) => ("UNAVAILABLE", why),
            ModelState::Unknown => ("UNKNOWN", "there is no such model".to_owned()),
        };
        IndexEntry { name: served.name.clone(), version: served.config.version.clone(), state, reason }
    };
    let entries = call.route.models(call.view).into_iter().map(entry);
    entries.filter(|entry| !only_ready || entry.state == "READY").collect()
}

/// The body of a request for inference.
struct Content {
    bytes: Bytes,
    /// Length of the JSON before binary tensors.
    header_length: Option<usize>,
    /// Its place among all bodies that are being read.
    _held: Option<Buffered>,
}

async fn content(call: &mut Call, headers: &HeaderMap, body: RequestBody) -> Result<Content, Failure> {
    check_content_type(headers)?;
    let header_length = header_length(headers)?;
    let (bytes, held) = call.read(headers, body).await?;
    Ok(Content { bytes, header_length, _held: held })
}

/// Answers a request whose body was read.
async fn infer_bytes(
    call: &Call,
    served: &Arc<Served>,
    bytes: &Bytes,
    header_length: Option<usize>,
    explain: bool,
) -> Result<Response<Body>, Failure> {
    let mut asked = parse_infer(bytes, header_length)?;
    let deadline = call.deadline(served);
    let id = asked.request.id.clone();
    let request = std::mem::take(&mut asked.request);
    let answer = match explain {
        true => call.core.explain(served, request, deadline).await?,
        false => infer_or_generate(&call.core, served, request, deadline).await?,
    };
    let encoded = response::encode(&served.name, &served.config.version, &asked, &id, &answer)?;
    let Some(length) = encoded.header_length() else {
        return Ok(json_body(StatusCode::OK, encoded.json));
    };
    let parts = std::iter::once(Bytes::from(encoded.json)).chain(encoded.binary);
    let mut response = Response::new(Body::parts(parts));
    response.headers_mut().insert(header::CONTENT_TYPE, BINARY);
    response.headers_mut().insert(HEADER_LENGTH, length);
    Ok(response)
}

/// Tensors for tensors, also from a model that only knows text.
pub(crate) async fn infer_or_generate(
    core: &Core,
    served: &Arc<Served>,
    request: InferRequest,
    deadline: Deadline,
) -> Result<InferResponse, Failure> {
    let metadata = match core.models.metadata(&served.key) {
        Some(metadata) => metadata,
        // It was never loaded.
        None => Box::pin(core.metadata(served, deadline)).await?,
    };
    if text_only(&metadata) {
        return Box::pin(generate::infer_with_text(core, served, request, deadline)).await;
    }
    core.infer(served, request, deadline).await
}

/// How much of the body is JSON.
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Failure> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|value| value.trim().parse().ok());
    let wrong =
        || Failure::invalid(format!("Inference-Header-Content-Length: {value:?}: must be a number of bytes"));
    length.map(Some).ok_or_else(wrong)
}
