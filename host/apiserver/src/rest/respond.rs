//! Answers: content negotiation, objects, lists, tables and failures.

use std::io::Write as _;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::query::Query;
use super::request::{ApiRequest, Verb};
use crate::catalogue::Resource;
use crate::engine::Engine;
use crate::engine::list::Listed;
use crate::model::table;
use crate::status::ApiError;
use crate::store::Stored;

/// Answers at least this long are compressed for clients that take it, as the real server does.
const COMPRESS_FROM: usize = 128 << 10;

/// In which form objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Full,
    Table,
    Partial,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) shape: Shape,
    pub(crate) pretty: bool,
    pub(crate) gzip: bool,
    yaml: bool,
}

impl Format {
    /// Chooses the first form in `Accept` that is offered.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query, verb: Verb) -> Result<Self, ApiError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (shape, yaml) = accepted(text(header::ACCEPT), verb)?;
        let agent = text(header::USER_AGENT);
        let human = ["curl", "Wget", "Mozilla/5.0"].iter().any(|name| agent.starts_with(name));
        let gzip = text(header::ACCEPT_ENCODING).split(',').any(|coding| coding.trim().starts_with("gzip"));
        Ok(Self { shape, pretty: query.pretty.unwrap_or(human), gzip, yaml })
    }
}

fn accepted(accept: &str, verb: Verb) -> Result<(Shape, bool), ApiError> {
    if accept.trim().is_empty() {
        return Ok((Shape::Full, false));
    }
    let (mut found, mut media_known) = (None, false);
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let yaml = media == "application/yaml" && verb != Verb::Watch;
        if !yaml && !matches!(media, "application/json" | "*/*") {
            continue;
        }
        media_known = true;
        let meta = get("g") == Some("meta.k8s.io") && get("v") == Some("v1");
        let shape = match get("as") {
            None => Shape::Full,
            Some("Table") if meta => Shape::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => Shape::Partial,
            Some(_) => continue,
        };
        found = Some((shape, yaml));
        break;
    }
    found.ok_or_else(|| ApiError::none_acceptable(media_known))
}

/// A refused request.
pub(crate) fn failure(error: &ApiError) -> Response {
    with_retry(error, bytes_response(error.code, Bytes::from(error.status().to_string())))
}

/// A refused request, in the form that the client takes.
pub(super) fn failure_as(format: Format, error: &ApiError) -> Response {
    match text(format, &error.status()) {
        Ok(body) => with_retry(error, encoded(format, error.code, body)),
        Err(_) => failure(error),
    }
}

fn with_retry(error: &ApiError, mut response: Response) -> Response {
    if let Some(seconds) = error.retry_after()
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// JSON that is no object of a resource.
pub(crate) fn plain(code: u16, value: &Value) -> Response {
    bytes_response(code, Bytes::from(value.to_string()))
}

fn bytes_response(code: u16, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Any JSON in the form that the client asked for.
pub(super) fn value(request: &ApiRequest, code: u16, value: &Value) -> Response {
    match text(request.format, value) {
        Ok(body) => encoded(request.format, code, body),
        Err(error) => failure(&error),
    }
}

fn text(format: Format, value: &Value) -> Result<Bytes, ApiError> {
    if format.yaml {
        return serde_saphyr::to_string(value).map(Bytes::from).map_err(ApiError::internal);
    }
    let json = if format.pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    json.map(Bytes::from).map_err(ApiError::internal)
}

fn encoded(format: Format, code: u16, body: Bytes) -> Response {
    let compressed = (format.gzip && body.len() >= COMPRESS_FROM).then(|| compress(&body)).flatten();
    let zipped = compressed.is_some();
    let mut response = bytes_response(code, compressed.unwrap_or(body));
    if zipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if format.yaml {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    }
    response
}

fn compress(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Bytes of an object as the resource's version shows it; the stored bytes where nothing has to change.
pub(super) fn body_of(engine: &Engine, resource: &Resource, stored: &Stored) -> Result<Bytes, ApiError> {
    let other_version = resource.custom.as_ref().is_some_and(|custom| custom.storage != resource.version);
    if other_version || resource.converted || stored.revision == 0 {
        return Ok(Bytes::from(engine.value_as(resource, stored)?.to_string()));
    }
    Ok(stored.body.clone())
}

/// One object.
pub(super) fn object(
    engine: &Engine,
    request: &ApiRequest,
    code: u16,
    stored: &Stored,
) -> Result<Response, ApiError> {
    let format = request.format;
    if format.shape == Shape::Full && !format.pretty && !format.yaml {
        return Ok(encoded(format, code, body_of(engine, &request.resource, stored)?));
    }
    let object = engine.value_as(&request.resource, stored)?;
    let shown = match format.shape {
        Shape::Full => object,
        Shape::Partial => partial(&object),
        Shape::Table => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table_of(request, metadata, std::slice::from_ref(&object), true)
        }
    };
    Ok(value(request, code, &shown))
}

/// A list.
pub(super) fn list(engine: &Engine, request: &ApiRequest, listed: &Listed) -> Result<Response, ApiError> {
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = &listed.continue_token {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = listed.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let resource = &request.resource;
    let format = request.format;
    // Lists of custom resources say that there is no more.
    if format.shape == Shape::Full && listed.continue_token.is_none() && resource.custom.is_some() {
        metadata["continue"] = "".into();
    }
    if format.shape == Shape::Full && !format.pretty && !format.yaml {
        return full_list(engine, request, listed, &metadata);
    }
    let items: Vec<Value> =
        listed.items.iter().map(|stored| engine.value_as(resource, stored)).collect::<Result<_, _>>()?;
    let shown = match format.shape {
        Shape::Full => json!({
            "kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata, "items": items,
        }),
        Shape::Partial => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "items": items.iter().map(partial).collect::<Vec<_>>(),
        }),
        Shape::Table => table_of(request, metadata, &items, true),
    };
    Ok(value(request, 200, &shown))
}

/// The common case: the stored bytes one after the other, never parsed.
fn full_list(
    engine: &Engine,
    request: &ApiRequest,
    listed: &Listed,
    metadata: &Value,
) -> Result<Response, ApiError> {
    let resource = &request.resource;
    let size: usize = listed.items.iter().map(|stored| stored.body.len() + 1).sum();
    let mut body = BytesMut::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        Value::from(resource.list_kind.as_str()),
        Value::from(resource.api_version())
    );
    body.put_slice(head.as_bytes());
    for (index, stored) in listed.items.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&body_of(engine, resource, stored)?);
    }
    body.put_slice(b"]}");
    Ok(encoded(request.format, 200, body.freeze()))
}

/// The metadata of an object alone.
pub(super) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Objects as a table; the columns are said only once on a watch.
pub(super) fn table_of(request: &ApiRequest, metadata: Value, objects: &[Value], columns: bool) -> Value {
    let shown = table::columns(&request.resource);
    let include = request.query.raw("includeObject").unwrap_or("Metadata");
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": table::cells(&shown, object)});
            match include {
                "None" => row["object"] = Value::Null,
                "Object" => row["object"] = object.clone(),
                _ => row["object"] = partial(object),
            }
            row
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": if columns { shown.definitions() } else { Value::Null },
        "rows": rows,
    })
}
