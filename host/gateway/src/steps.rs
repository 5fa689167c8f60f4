//! Whom a graph's steps ask: routes of this gateway, by their names or by URLs with their hosts, without leaving the process, and
//! servers elsewhere.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use serde_json::Value;

use crate::body::Body;
use crate::call::{Call, REQUEST_ID, Request, check_content_type, json};
use crate::core::{Core, Deadline};
use crate::dispatch::answer_at;
use crate::failure::Failure;
use crate::graph::{self, Answer, Caller, Destination};
use crate::table::{Place, Route};
use crate::trace::TRACEPARENT;

/// Answers a request on a route with a graph.
pub(crate) async fn answer(call: &mut Call, request: Request) -> Result<Response<Body>, Failure> {
    check_content_type(request.headers())?;
    if call.depth >= call.core.config.graph_depth {
        let message = format!("graphs lead to each other deeper than {}", call.core.config.graph_depth);
        return Err(Failure::new(StatusCode::LOOP_DETECTED, message));
    }
    let authorization = request.headers().get(header::AUTHORIZATION).cloned();
    let (parts, body) = request.into_parts();
    let (body, _held) = call.read(&parts.headers, body).await?;
    let limit = call.route.timeout.unwrap_or(call.core.config.request_timeout);
    let deadline = Deadline::after(call.started, limit);
    let route = call.route.clone();
    let Some(graph) = &route.graph else { return Err(Failure::not_found("the route has no graph")) };
    let asker = Asker {
        core: call.core.clone(),
        namespace: route.namespace.clone(),
        request_id: call.request_id.clone(),
        trace: call.trace.header(),
        authorization,
        depth: call.depth + 1,
        deadline,
    };
    let answer = deadline.bound(graph::run(graph, &asker, body)).await??;
    Ok(json(answer.status, answer.body))
}

struct Asker {
    core: Arc<Core>,
    namespace: String,
    request_id: String,
    trace: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    depth: usize,
    deadline: Deadline,
}

#[async_trait]
impl Caller for Asker {
    async fn call(&self, destination: &Destination, body: Bytes) -> Result<Answer, Failure> {
        match destination {
            Destination::Route(name) => self.route(name, body).await,
            Destination::Url(url) => self.url(url, body).await,
        }
    }
}

impl Asker {
    async fn route(&self, name: &str, body: Bytes) -> Result<Answer, Failure> {
        let route = self.core.table.load().route(&self.namespace, name).cloned();
        let Some(route) = route else {
            return Err(Failure::unavailable(format!("the graph asks route {name:?}, which there is not")));
        };
        let path = path_for(&route, &body)?;
        let path = path.parse().map_err(|_| Failure::invalid("the model's name cannot be in a path"))?;
        self.here(Place { route, view: 0 }, path, name, body).await
    }

    /// Asks a route of this gateway.
    async fn here(&self, place: Place, path: Uri, name: &str, body: Bytes) -> Result<Answer, Failure> {
        let mut request = http::Request::new(Either::Right(Full::new(body)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = path;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(trace) = &self.trace {
            headers.insert(TRACEPARENT, trace.clone());
        }
        // What a client is let in with is not for the services of others.
        if let Some(authorization) =
            self.authorization.as_ref().filter(|_| place.route.namespace == self.namespace)
        {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let response = Box::pin(answer_at(self.core.clone(), place, 0, request, self.depth)).await;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.core.config.max_body).collect().await;
        let body = body.map_err(|error| too_much(name, &error))?.to_bytes();
        Ok(Answer { status, body })
    }

    async fn url(&self, url: &str, body: Bytes) -> Result<Answer, Failure> {
        if let Some((place, uri)) = self.own(url) {
            return self.here(place, uri, url, body).await;
        }
        let failed = |error: reqwest::Error| Failure::unavailable(format!("the graph asked {url}: {error}"));
        let mut request = client(&self.core.steps)?
            .post(url)
            .timeout(self.deadline.at.saturating_duration_since(tokio::time::Instant::now()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(REQUEST_ID, &self.request_id)
            .body(body);
        if let Some(trace) = &self.trace {
            request = request.header(TRACEPARENT, trace);
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut whole = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed)?;
            if whole.len() + piece.len() > self.core.config.max_body {
                return Err(too_much(url, &"it is larger than the gateway takes"));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Answer { status, body: whole.into() })
    }

    /// The route of this gateway that a URL is about: its host is the route's, whether or not it can be looked up here, as the
    /// name of a service inside a cluster cannot on a laptop. Hosts that are only caught by a route for all others are not.
    fn own(&self, url: &str) -> Option<(Place, Uri)> {
        let uri: Uri = url.parse().ok()?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http"))?;
        let place = self.core.table.load().at_host(host)?;
        let path = uri.path_and_query().cloned()?;
        Some((place, Uri::from(path)))
    }
}

fn too_much(whose: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_GATEWAY, format!("the answer of {whose} could not be read: {error}"))
}

/// Made when the first graph needs it, because most gateways have none.
fn client(made: &OnceLock<reqwest::Client>) -> Result<&reqwest::Client, Failure> {
    if made.get().is_none() {
        // No redirects: where a step goes says the graph, not who answers.
        let built = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let built = built.map_err(|error| {
            Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("no client for the graph's steps: {error}"),
            )
        })?;
        let _ = made.set(built);
    }
    made.get().ok_or_else(|| Failure::unavailable("no client for the graph's steps"))
}

/// The operation that a body is for, on a route that a step names.
fn path_for(route: &Route, body: &[u8]) -> Result<String, Failure> {
    if route.graph.is_some() {
        return Ok("/".to_owned());
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::invalid(format!("what a step is given is not JSON: {error}")))?;
    let names = route.names(0);
    let name = match names.as_slice() {
        [] => return Err(Failure::unavailable(format!("route {:?} has no models", route.name))),
        [one] => one,
        several => body
            .get("model")
            .or_else(|| body.get("model_name"))
            .and_then(Value::as_str)
            .and_then(|wanted| several.iter().find(|name| **name == wanted))
            .unwrap_or(&several[0]),
    };
    let name = name.replace('%', "%25").replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    let has = |member: &str| body.get(member).is_some();
    Ok(if has("messages") {
        "/openai/v1/chat/completions".to_owned()
    } else if has("prompt") {
        "/openai/v1/completions".to_owned()
    } else if has("text_input") {
        format!("/v2/models/{name}/generate")
    } else if body
        .get("inputs")
        .and_then(Value::as_array)
        .is_some_and(|inputs| inputs.first().is_some_and(|input| input.get("datatype").is_some()))
    {
        format!("/v2/models/{name}/infer")
    } else {
        format!("/v1/models/{name}:predict")
    })
}
