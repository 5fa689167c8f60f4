//! Request bodies: JSON, YAML or protobuf into objects of the kind that the path expects, patches into their kind.

use http::header::CONTENT_TYPE;
use purlin_schema::protobuf::{self, ProtobufError};
use serde_json::{Value, json};

use super::request::ApiRequest;
use crate::catalogue::api_version;
use crate::model::PatchKind;
use crate::status::ApiError;

const TAKEN: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The media type of the body, without parameters.
fn media_type(request: &ApiRequest) -> String {
    request.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The body as JSON, whatever it was written in; one that names no kind is taken for the one given.
pub(super) fn value(request: &ApiRequest, api_version: &str, kind: &str) -> Result<Value, ApiError> {
    match media_type(request).as_str() {
        "" | "application/json" => json(&request.body, kind),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(&request.body),
        protobuf::MEDIA_TYPE if protobuf::reads(api_version, kind) => {
            protobuf::decode(&request.body, api_version, kind)
                .map_err(|error| no_message(&request.body, api_version, kind, &error))
        }
        // A custom resource has no message that the bytes could be.
        other @ protobuf::MEDIA_TYPE => Err(ApiError::unsupported_media_type(other, &TAKEN[..2])),
        other => Err(ApiError::unsupported_media_type(other, &TAKEN)),
    }
}

fn no_message(body: &[u8], api_version: &str, kind: &str, error: &ProtobufError) -> ApiError {
    let (given_version, given_kind) = match error {
        ProtobufError::Empty | ProtobufError::Prefix => {
            return ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): {error} ({})",
                excerpt(body)
            ));
        }
        ProtobufError::UnknownKind { api_version, kind } => (api_version.as_str(), kind.as_str()),
        _ => (api_version, kind),
    };
    let version = given_version.rsplit('/').next().unwrap_or_default();
    ApiError::bad_request(format!(
        "{given_kind} in version \"{version}\" cannot be handled as a {kind}: {error}"
    ))
}

fn json(body: &[u8], kind: &str) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error} ({})",
            excerpt(body)
        ))
    })
}

fn yaml(body: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| ApiError::bad_request(format!("yaml: {error}")))?;
    serde_saphyr::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error converting YAML to JSON: {error}")))
}

/// The start of a body, as text where it looks like JSON.
fn excerpt(body: &[u8]) -> String {
    let start = &body[..body.len().min(30)];
    let text = match start.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => hex::encode(start),
    };
    if body.len() > 30 { format!("{text} ...") } else { text }
}

/// The body as an object of `kind` in `version` of `group`, whose namespace is the request's.
pub(super) fn object(
    request: &ApiRequest,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Value, ApiError> {
    let mut object = value(request, &api_version(group, version), kind)?;
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }} ({})",
            type_name(&object),
            excerpt(&request.body)
        )));
    }
    check_kind(request, &mut object, group, version, kind)?;
    check_namespace(request, &mut object)?;
    Ok(object)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_kind(
    request: &ApiRequest,
    object: &mut Value,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<(), ApiError> {
    let expected = api_version(group, version);
    let given = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (given_version, given_kind) = (given("apiVersion"), given("kind"));
    if request.resource.custom.is_some() {
        if given_kind.is_empty() || given_version.is_empty() {
            let missing = if given_kind.is_empty() { "kind" } else { "apiVersion" };
            let shown = String::from_utf8_lossy(&request.body).into_owned();
            return Err(ApiError::bad_request(format!(
                "Object '{}' is missing in '{shown}'",
                capital(missing)
            )));
        }
        if given_version != expected {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({given_version}) does not match the expected API version ({expected})"
            )));
        }
        if given_kind != kind {
            return Err(ApiError::bad_request(format!(
                "{given_kind} in version \"{version}\" cannot be handled as a {kind}: kind does not match the expected kind {kind}"
            )));
        }
        return Ok(());
    }
    if !given_version.is_empty() && given_version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({expected})"
        )));
    }
    if !given_kind.is_empty() && given_kind != kind {
        let internal = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version \"{version}\" cannot be handled as a {kind}: converting ({version}.{given_kind}) to ({internal}.{kind}): unknown conversion"
        )));
    }
    object["apiVersion"] = expected.into();
    object["kind"] = kind.into();
    Ok(())
}

fn capital(word: &str) -> &'static str {
    if word == "kind" { "Kind" } else { "apiVersion" }
}

fn check_namespace(request: &ApiRequest, object: &mut Value) -> Result<(), ApiError> {
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let wanted = request.namespace();
    if given == wanted {
        return Ok(());
    }
    if !given.is_empty() && request.resource.namespaced {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        if wanted.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".into(), wanted.into());
        }
    }
    Ok(())
}

/// The kind of patch and its body.
pub(super) fn patch(request: &ApiRequest) -> Result<(PatchKind, Value), ApiError> {
    let kind = match media_type(request).as_str() {
        "application/json-patch+json" => PatchKind::Json,
        "application/merge-patch+json" => PatchKind::Merge,
        "application/strategic-merge-patch+json" if request.resource.custom.is_none() => PatchKind::Strategic,
        "application/apply-patch+yaml" => PatchKind::Apply,
        _ => {
            return Err(ApiError::unsupported_patch());
        }
    };
    let value = if kind == PatchKind::Apply {
        yaml(&request.body)?
    } else {
        serde_json::from_slice(&request.body)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?
    };
    if kind != PatchKind::Json && !value.is_object() {
        return Err(ApiError::bad_request("error decoding patch: the patch is no object"));
    }
    Ok((kind, value))
}
