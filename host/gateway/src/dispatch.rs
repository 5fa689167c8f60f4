//! From a request to who answers it: the route by host or path, the token, the protocol by the path.

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Either;
use hyper::body::Incoming;
use serde_json::json;
use tracing::Instrument as _;

use crate::body::Body;
use crate::call::{Call, ErrorForm, REQUEST_ID, Request, failed, json_value};
use crate::core::Core;
use crate::endpoint::{Endpoint, OpenAi, V2};
use crate::failure::Failure;
use crate::relay::{self, Relayed};
use crate::table::Place;
use crate::{grpc, openai, proxy, steps, v1, v2};

/// Answers a request.
pub(crate) async fn answer(core: Arc<Core>, request: hyper::Request<Incoming>) -> Response<Body> {
    let request = request.map(Either::Left);
    if grpc::is_grpc(request.headers()) {
        return Box::pin(grpc::answer(core, request)).await;
    }
    if let Some(response) = of_server(&core, &request) {
        return response;
    }
    let host = request_host(&request);
    let table = core.table.load();
    let located = table.locate(host, request.uri().path());
    match located {
        Ok((place, path)) => {
            let behind = request.uri().path().len() - path.len();
            drop(table);
            answer_at(core, place, behind, request, 0).await
        }
        Err(failure) => {
            core.metrics.refused.inc();
            failed(&failure, error_form(request.uri().path()))
        }
    }
}

/// Answers a request on a route. Its path begins after `behind` bytes of the request's; `depth` graphs led here.
pub(crate) async fn answer_at(
    core: Arc<Core>,
    place: Place,
    behind: usize,
    request: Request,
    depth: usize,
) -> Response<Body> {
    let mut call = Call::new(core, place, behind, request.headers());
    call.depth = depth;
    let span = tracing::info_span!(
        "request",
        route.namespace = call.route.namespace,
        route.name = call.route.name,
        request.id = call.request_id,
        trace.id = %call.trace.id(),
        model = tracing::field::Empty,
        status = tracing::field::Empty,
    );
    let uri = request.uri().clone();
    let answered = pin!(async {
        authorize(&call, request.headers())?;
        match relay::relay(&call, request, false).await? {
            Relayed::Answered(response) => {
                call.relayed = true;
                Ok(response)
            }
            Relayed::Here(request) => route(&mut call, behind, request).await,
        }
    })
    .instrument(span.clone())
    .await;
    let mut response = match answered {
        Ok(response) => call.log_answer(response),
        Err(failure) => failed(&failure, error_form(&uri.path()[behind..])),
    };
    span.record("status", response.status().as_u16());
    match &call.served {
        Some(served) => {
            span.record("model", served.key.name.as_str());
            served.metrics.answered(response.status(), call.started.elapsed());
        }
        None if !response.status().is_success() && !call.relayed => {
            call.core.metrics.refused.inc();
        }
        None => {}
    }
    if let Ok(id) = HeaderValue::from_str(&call.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Hands a request to its protocol. Only the hot path is not boxed: the others' state would be part of every connection.
async fn route(call: &mut Call, behind: usize, request: Request) -> Result<Response<Body>, Failure> {
    if call.route.graph.is_some() && request.method() == Method::POST {
        return Box::pin(steps::answer(call, request)).await;
    }
    // The path is part of the request, which is handed on; a short copy is cheaper than to share it.
    let path = request.uri().path()[behind..].to_owned();
    match Endpoint::parse(&path) {
        Endpoint::V2(V2::Infer, name) => {
            post(request.method())?;
            v2::infer(call, &name, request).await
        }
        endpoint => Box::pin(seldom(call, endpoint, request)).await,
    }
}

async fn seldom(
    call: &mut Call,
    endpoint: Endpoint<'_>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let method = request.method();
    match endpoint {
        Endpoint::V2(V2::Metadata, name) => {
            get(method)?;
            v2::metadata(call, &name, request).await
        }
        Endpoint::V2(V2::Ready, name) => {
            get(method)?;
            v2::ready(call, &name, request).await
        }
        Endpoint::V2(V2::Infer, name) => {
            post(method)?;
            v2::infer(call, &name, request).await
        }
        Endpoint::V2(V2::Explain, name) => {
            post(method)?;
            v2::explain(call, &name, request).await
        }
        Endpoint::V2(operation @ (V2::Generate | V2::GenerateStream), name) => {
            post(method)?;
            v2::generate(call, &name, operation == V2::GenerateStream, request).await
        }
        Endpoint::V2Models => {
            get(method)?;
            Ok(json_value(&json!({"models": call.route.names(call.view)})))
        }
        Endpoint::V2Index => {
            post(method)?;
            v2::index(call, request).await
        }
        Endpoint::V2Load(name) => {
            post(method)?;
            let served = call.model(&name, request.headers())?;
            call.core.models.load(&served.key).await?;
            Ok(json_value(&json!({"name": served.name, "load": true})))
        }
        Endpoint::V2Unload(name) => {
            post(method)?;
            let served = call.model(&name, request.headers())?;
            call.core.models.unload(&served.key).await?;
            Ok(json_value(&json!({"name": served.name, "unload": true})))
        }
        Endpoint::V1Models => {
            get(method)?;
            Ok(v1::models(call))
        }
        Endpoint::V1Model(name) => {
            get(method)?;
            let served = call.model(&name, request.headers())?;
            Ok(v1::model(call, &served))
        }
        Endpoint::V1Predict(name) => {
            post(method)?;
            let served = call.model(&name, request.headers())?;
            match served.config.container {
                true => proxy::forward(call, &served, request).await,
                false => v1::predict(call, &served, request).await,
            }
        }
        Endpoint::V1Explain(name) => {
            post(method)?;
            let served = call.model(&name, request.headers())?;
            let explainer = call.route.explainer.clone().unwrap_or(served.clone());
            match explainer.config.container {
                true => proxy::forward(call, &explainer, request).await,
                false => v1::explain(call, &served, request).await,
            }
        }
        Endpoint::OpenAi(OpenAi::Models) => {
            get(method)?;
            Ok(json_value(&openai::models(call)))
        }
        Endpoint::OpenAi(operation) => {
            post(method)?;
            openai::answer(call, operation, request).await
        }
        Endpoint::V2Server | Endpoint::V2Live | Endpoint::V2Ready => {
            get(method)?;
            Ok(v2::server(&call.core, &endpoint))
        }
        Endpoint::Other => other(call, request).await,
    }
}

/// A path of no protocol here: containers may know it.
async fn other(call: &mut Call, request: Request) -> Result<Response<Body>, Failure> {
    let path = &request.uri().path()[call.behind..];
    let unknown =
        Failure::not_found(format!("{path:?} is no path of the protocols here: V2, V1 and OpenAI's"));
    if !call.route.has_containers(call.view) {
        return Err(unknown);
    }
    let served = call.any_model(request.headers())?;
    if !served.config.container {
        return Err(unknown);
    }
    proxy::forward(call, &served, request).await
}

/// What concerns the server itself, on any host.
fn of_server(core: &Core, request: &Request) -> Option<Response<Body>> {
    // Most requests are for a model, and go on.
    let endpoint = match request.uri().path() {
        "/v2" | "/v2/" => Endpoint::V2Server,
        "/v2/health/live" => Endpoint::V2Live,
        "/v2/health/ready" => Endpoint::V2Ready,
        _ => return None,
    };
    if let Err(failure) = get(request.method()) {
        return Some(failed(&failure, ErrorForm::Plain));
    }
    Some(v2::server(core, &endpoint))
}

/// The operation wants POST.
pub(crate) fn post(method: &Method) -> Result<(), Failure> {
    if method == Method::POST { Ok(()) } else { Err(Failure::method("POST")) }
}

/// The operation wants GET.
pub(crate) fn get(method: &Method) -> Result<(), Failure> {
    if method == Method::GET { Ok(()) } else { Err(Failure::method("GET")) }
}

/// Lets in who has a token that the route knows.
pub(crate) fn authorize(call: &Call, headers: &HeaderMap) -> Result<(), Failure> {
    if !call.route.wants_token() {
        return Ok(());
    }
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    if call.route.lets_in(token) {
        return Ok(());
    }
    let message = match token {
        Some(_) => "the bearer token is none of this route's",
        None => "this route wants a bearer token: send the header Authorization: Bearer TOKEN",
    };
    Err(Failure::new(StatusCode::UNAUTHORIZED, message))
}

/// The host that a request is for.
pub(crate) fn request_host<B>(request: &http::Request<B>) -> Option<&str> {
    let header = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or_else(header)
}

/// The form of errors under a path.
fn error_form(path: &str) -> ErrorForm {
    match Endpoint::parse(path) {
        Endpoint::OpenAi(_) => ErrorForm::OpenAi,
        _ if path.starts_with("/openai/") => ErrorForm::OpenAi,
        _ => ErrorForm::Plain,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::body::Incoming;

    use crate::core::Core;

    fn size<F: Future>(_: impl Fn(Arc<Core>, hyper::Request<Incoming>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_a_connection_keeps_for_a_request_stays_small() {
        let size = size(super::answer);
        assert!(size < 6 << 10, "{size}");
    }
}
