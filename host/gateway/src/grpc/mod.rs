//! The Open Inference Protocol over gRPC, beside REST on the same listener.

mod convert;
#[expect(unreachable_pub, clippy::enum_variant_names, reason = "generated")]
#[rustfmt::skip]
mod inference;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service as _;

use self::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use self::service::Inference;
use crate::body::Body;
use crate::call::{Call, Request};
use crate::core::Core;
use crate::dispatch::{authorize, request_host};
use crate::failure::Failure;
use crate::proxy;
use crate::relay::{self, Relayed};

/// Whether a request is one of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Answers a request.
pub(crate) async fn answer(core: Arc<Core>, request: Request) -> Response<Body> {
    match route(&core, request).await {
        Ok(response) => response,
        Err(failure) => {
            core.metrics.refused.inc();
            status(&failure).into_http()
        }
    }
}

async fn route(core: &Arc<Core>, request: Request) -> Result<Response<Body>, Failure> {
    let located = core
        .table
        .load()
        .locate(request_host(&request), request.uri().path())
        .map(|(place, path)| (place, path.to_owned()))?;
    let (place, path) = located;
    let behind = request.uri().path().len() - path.len();
    let mut call = Call::new(core.clone(), place.clone(), behind, request.headers());
    authorize(&call, request.headers())?;
    let mut request = match relay::relay(&call, request, true).await? {
        Relayed::Answered(response) => return Ok(response),
        Relayed::Here(request) => request,
    };
    // Who speaks another protocol to containers names the model beside the message.
    if let Some(name) = call.named_by_header(request.headers()).map(str::to_owned) {
        let served = call.model(&name, request.headers())?;
        if served.config.container {
            return proxy::forward_grpc(&mut call, &served, request).await;
        }
    } else if call.route.has_containers(call.view) {
        let served = call.any_model(request.headers())?;
        if served.config.container {
            return proxy::forward_grpc(&mut call, &served, request).await;
        }
    }
    *request.uri_mut() = path.parse().map_err(|_| Failure::not_found("no such method"))?;
    let limit = core.config.max_body;
    let mut server =
        GrpcInferenceServiceServer::new(Inference::new(core.clone(), place, request.headers().clone()))
            // Answers are not compressed: most clients would take it, and none gains by it on the way to a model.
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip);
    // A client that sends its message byte by byte is not waited for; a stream of messages may take as long as it likes.
    let limit = match path.ends_with("/ModelStreamInfer") {
        true => Duration::MAX,
        false => core.config.body_timeout.saturating_add(call.longest()),
    };
    let response = match tokio::time::timeout(limit, server.call(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => return Err(Failure::deadline(limit)),
    };
    Ok(response.map(|body| Body::boxed(body.map_err(Into::into))))
}

/// A failure, in gRPC's words.
fn status(failure: &Failure) -> Status {
    let message = failure.message.clone();
    match failure.status {
        StatusCode::UNAUTHORIZED => Status::unauthenticated(message),
        StatusCode::NOT_FOUND => Status::not_found(message),
        StatusCode::PAYLOAD_TOO_LARGE => Status::resource_exhausted(message),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => Status::unavailable(message),
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Status::deadline_exceeded(message),
        status if status.is_client_error() => Status::invalid_argument(message),
        _ => Status::internal(message),
    }
}
