//! OpenAPI documents, made when they are asked for and named by their hash so that clients can keep them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use purlin_schema::openapi;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{meta, respond};
use crate::catalogue::Resource;
use crate::server::Core;

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`: where each group's document is.
pub(super) async fn index(State(core): State<Arc<Core>>) -> Response {
    let served = core.engine.catalogue.served();
    let paths: Map<String, Value> = served
        .iter()
        .map(|((group, version), resources)| {
            let path = path_of(group, version);
            let seed: String = resources
                .values()
                .map(|resource| {
                    format!(
                        "{}{:?}",
                        resource.table,
                        resource.custom.as_ref().map(|custom| custom.schema.to_string())
                    )
                })
                .collect();
            let hash = hex::encode_upper(Sha256::digest(seed));
            let entry = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")});
            (path, entry)
        })
        .collect();
    let kind = "text/plain; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], json!({"paths": paths}).to_string()).into_response()
}

/// `/openapi/v3/...`: one group and version.
pub(super) async fn group(
    State(core): State<Arc<Core>>,
    Path(path): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let served = core.engine.catalogue.served();
    let found = served.iter().find(|((group, version), _)| path_of(group, version) == path);
    let Some(((group, version), resources)) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let body = document(group, version, resources.values()).to_string();
    let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&body)));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given == tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let cached = uri.query().is_some_and(|query| query.contains("hash="));
    let cache = if cached { "public, immutable" } else { "no-cache, private" };
    let kind = "application/json";
    ([(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, cache), (header::CONTENT_TYPE, kind)], body)
        .into_response()
}

/// `/openapi/v2`: the old form, with the definitions of custom resources only; in protobuf, with none.
///
/// kubectl asks for protobuf when it is about to check a `List`, and passes over the kinds that the document leaves out.
/// Their fields are then checked here, where the custom resources' rules are known too.
pub(super) async fn v2(State(core): State<Arc<Core>>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    if accepts.contains("proto-openapi.spec.v2") {
        let kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        return ([(header::CONTENT_TYPE, kind)], empty_document()).into_response();
    }
    let served = core.engine.catalogue.served();
    let definitions: Map<String, Value> = served
        .values()
        .flat_map(|plurals| plurals.values())
        .filter_map(|resource| Some((resource, resource.custom.as_ref()?)))
        .map(|(resource, custom)| {
            let own = openapi::custom(&custom.schema, &resource.group, &resource.version, &resource.kind);
            (schemas_of(resource).0, own)
        })
        .collect();
    respond::plain(
        200,
        &json!({
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": meta::version_info()["gitVersion"]},
            "paths": {}, "definitions": definitions,
        }),
    )
}

/// A document of OpenAPI 2.0 without paths and definitions, as the protobuf message `openapi.v2.Document`.
fn empty_document() -> Vec<u8> {
    const SWAGGER: u8 = 1;
    const INFO: u8 = 2;
    const PATHS: u8 = 8;
    const TITLE: u8 = 1;
    const VERSION: u8 = 2;
    let version = meta::version_info()["gitVersion"].as_str().unwrap_or_default().to_owned();
    let info = [field(TITLE, b"Kubernetes"), field(VERSION, version.as_bytes())].concat();
    [field(SWAGGER, b"2.0"), field(INFO, &info), field(PATHS, b"")].concat()
}

/// A protobuf field of bytes. Nothing longer than a byte can count is written here.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    const BYTES: u8 = 2;
    const LONGEST: usize = 0x7f;
    let content = &content[..content.len().min(LONGEST)];
    let mut out = vec![number << 3 | BYTES, content.len() as u8];
    out.extend_from_slice(content);
    out
}

fn document<'a>(group: &str, version: &str, resources: impl Iterator<Item = &'a Arc<Resource>>) -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for resource in resources {
        let (name, needed) = schemas_of(resource);
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let base = format!("/{}", path_of(group, version));
        let path = if resource.namespaced {
            format!("{base}/namespaces/{{namespace}}/{}/{{name}}", resource.plural)
        } else {
            format!("{base}/{}/{{name}}", resource.plural)
        };
        let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let answer =
            json!({"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}});
        let patch = json!({
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind, "responses": answer,
            "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
        });
        let get = json!({"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": kind, "responses": answer});
        paths.insert(path, json!({"get": get, "patch": patch}));
        schemas.extend(needed);
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": meta::version_info()["gitVersion"]},
        "paths": paths, "components": {"schemas": schemas},
    })
}

/// The definition of a resource's kind and everything that it refers to; the first is its own name.
fn schemas_of(resource: &Resource) -> (String, BTreeMap<String, Value>) {
    if let Some(custom) = &resource.custom {
        let mut domain: Vec<&str> = resource.group.split('.').collect();
        domain.reverse();
        let name = format!("{}.{}.{}", domain.join("."), resource.version, resource.kind);
        let mut schemas = openapi::metadata();
        let own = openapi::custom(&custom.schema, &resource.group, &resource.version, &resource.kind);
        schemas.insert(name.clone(), own);
        return (name, schemas);
    }
    match openapi::definitions(&resource.group, &resource.version, &resource.kind) {
        Some((name, schemas)) => (name.to_owned(), schemas),
        None => (resource.kind.clone(), BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_has_its_fields_in_order() {
        let bytes = empty_document();
        assert_eq!(bytes[..5], [0x0a, 3, b'2', b'.', b'0']);
        assert_eq!(bytes[5], 0x12);
        assert_eq!(bytes[7..9], [0x0a, 10]);
        assert_eq!(usize::from(bytes[6]), bytes.len() - 7 - 2, "the length of info");
        assert_eq!(bytes[bytes.len() - 2..], [0x42, 0]);
    }
}
