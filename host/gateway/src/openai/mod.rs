//! The API that clients of OpenAI speak: models, completions, chat and embeddings.

mod embeddings;
mod text;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Request;
use crate::call::{Call, check_content_type, json_value};
use crate::endpoint::OpenAi;
use crate::failure::Failure;
use crate::fields::{Fields, object};
use crate::proxy;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A model, as this API lists it.
pub(crate) fn model_value(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "purlin"})
}

/// The list of models.
pub(crate) fn models(call: &Call) -> Value {
    let data: Vec<_> = call.route.names(call.view).into_iter().map(model_value).collect();
    json!({"object": "list", "data": data})
}

/// Answers a request that has a body.
pub(crate) async fn answer(
    call: &mut Call,
    operation: OpenAi,
    request: Request,
) -> Result<Response<Body>, Failure> {
    check_content_type(request.headers())?;
    let headers = request.headers().clone();
    let (parts, body) = request.into_parts();
    // Which model it is says the body, so that it is read before anything else.
    let (bytes, _held) = call.read(&parts.headers, body).await?;
    let body = object(&bytes)?;
    let fields = Fields(&body);
    let served = match fields.text("model")? {
        Some(model) => call.model(model, &headers)?,
        None => only_model(call, &headers)?,
    };
    if served.config.container {
        return proxy::forward_read(call, &served, parts, bytes).await;
    }
    call.log(&served, &bytes, &headers);
    match operation {
        OpenAi::Chat => text::chat(call, &served, fields).await,
        OpenAi::Completions => text::completions(call, &served, fields).await,
        OpenAi::Embeddings => embeddings::embeddings(call, &served, fields).await,
        OpenAi::Models => Ok(json_value(&models(call))),
    }
}

/// Where a route has one name, requests need not say it.
fn only_model(
    call: &mut Call,
    headers: &HeaderMap,
) -> Result<std::sync::Arc<crate::served::Served>, Failure> {
    let names: Vec<_> = call.route.names(call.view).into_iter().map(str::to_owned).collect();
    match names.as_slice() {
        [one] => call.model(one, headers),
        _ => Err(Failure::invalid(format!("model: is missing; give one of: {}", names.join(", ")))),
    }
}

/// Bytes as Base64.
fn base64(bytes: &Bytes) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
