//! Request bodies: JSON, YAML or protobuf into objects of the kind that the path expects, patches into their kind.

use http::header::CONTENT_TYPE;
use purlin_schema::protobuf::{self, ProtobufError};
use purlin_schema::typed;
use serde_json::Value;

use super::json;
use super::request::ApiRequest;
use crate::catalogue::api_version;
use crate::model::PatchKind;
use crate::status::{About, ApiError, Cause};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

const TAKEN: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The media type of the body, without parameters.
fn media_type(request: &ApiRequest) -> String {
    request.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An object that a client sent, and the paths of the fields that it set twice.
pub(super) struct Sent {
    pub(super) object: Value,
    pub(super) twice: Vec<String>,
}

impl From<Value> for Sent {
    fn from(object: Value) -> Self {
        Self { object, twice: Vec::new() }
    }
}

/// The body as JSON, whatever it was written in; one that names no kind is taken for the one given.
pub(super) fn value(request: &ApiRequest, api_version: &str, kind: &str) -> Result<Value, ApiError> {
    read(request, api_version, kind).map(|sent| sent.object)
}

fn read(request: &ApiRequest, api_version: &str, kind: &str) -> Result<Sent, ApiError> {
    match media_type(request).as_str() {
        "" | "application/json" => from_json(&request.body, kind),
        "application/yaml" | "text/yaml" | "application/x-yaml" => {
            yaml(&request.body).map(Sent::from).map_err(|error| {
                ApiError::bad_request(format!(
                    "the object provided is unrecognized (must be of type {kind}): yaml: {error} ({})",
                    excerpt(&request.body)
                ))
            })
        }
        protobuf::MEDIA_TYPE if protobuf::reads(api_version, kind) => {
            protobuf::decode(&request.body, api_version, kind)
                .map(Sent::from)
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

fn from_json(body: &[u8], kind: &str) -> Result<Sent, ApiError> {
    json::parse(body).map(|(object, twice)| Sent { object, twice }).map_err(|error| {
        let error =
            if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        let why = format!("couldn't get version/kind; json parse error: {error}");
        if kind == "DeleteOptions" {
            return ApiError::bad_request(why);
        }
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({})",
            excerpt(body)
        ))
    })
}

/// YAML as JSON, or what is wrong with it in one line.
fn yaml(body: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    serde_saphyr::from_str(text).map_err(|error| {
        let shown = error.to_string();
        shown.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
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
    sent(request, group, version, kind).map(|sent| sent.object)
}

/// The same, with what the client set twice.
pub(super) fn sent(request: &ApiRequest, group: &str, version: &str, kind: &str) -> Result<Sent, ApiError> {
    let Sent { mut object, twice } = read(request, &api_version(group, version), kind)?;
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }} ({})",
            type_name(&object),
            excerpt(&request.body)
        )));
    }
    check_kind(request, &mut object, group, version, kind)?;
    check_namespace(request, &mut object)?;
    typed::settle(&mut object, &api_version(group, version), kind)
        .map_err(|why| unlike(version, kind, kind, &why))?;
    Ok(Sent { object, twice })
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
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!("Invalid value: \"{given_kind}\": must be {kind}");
            return Err(ApiError::invalid(
                About { group, kind: &given_kind, name },
                vec![Cause::of("Invalid", "kind", why)],
            ));
        }
        return Ok(());
    }
    if !given_version.is_empty() && given_version != expected {
        if !typed::is_known(&given_version, kind) {
            let shown = given_version.rsplit('/').next().unwrap_or_default();
            let why = format!(
                "no kind \"{kind}\" is registered for version \"{given_version}\" in scheme \"pkg/runtime/scheme.go:111\""
            );
            return Err(unlike(shown, kind, kind, &why));
        }
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({expected})"
        )));
    }
    if !given_kind.is_empty() && given_kind != kind {
        // It is read as what it says it is before it is found to be something else.
        if let Err(why) = typed::settle(&mut object.clone(), &expected, &given_kind) {
            return Err(unlike(version, &given_kind, kind, &why));
        }
        let internal = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version \"{version}\" cannot be handled as a {kind}: converting ({version}.{given_kind}) to ({internal}.{kind}): unknown conversion"
        )));
    }
    object["apiVersion"] = expected.into();
    object["kind"] = kind.into();
    Ok(())
}

fn unlike(version: &str, given: &str, kind: &str, why: &dyn std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("{given} in version \"{version}\" cannot be handled as a {kind}: {why}"))
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
        object["metadata"] = Value::Object(serde_json::Map::new());
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
        JSON_PATCH => PatchKind::Json,
        MERGE_PATCH => PatchKind::Merge,
        STRATEGIC_PATCH if request.resource.custom.is_none() => PatchKind::Strategic,
        APPLY_PATCH => PatchKind::Apply,
        _ => {
            let given = media_type(request);
            return Err(if given == STRATEGIC_PATCH {
                ApiError::unsupported_media_type(&given, &[JSON_PATCH, MERGE_PATCH, APPLY_PATCH])
            } else {
                ApiError::unsupported_patch()
            });
        }
    };
    let value = if kind == PatchKind::Apply {
        yaml(&request.body)
            .map_err(|error| ApiError::bad_request(format!("error encoding patch: yaml: {error}")))?
    } else {
        serde_json::from_slice(&request.body).map_err(|_| ApiError::bad_request("invalid JSON patch"))?
    };
    if kind != PatchKind::Json && !value.is_object() {
        let prefix = if kind == PatchKind::Strategic { "" } else { "error decoding patch: " };
        return Err(ApiError::bad_request(format!(
            "{prefix}json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            type_name(&value)
        )));
    }
    Ok((kind, value))
}
