//! The one place where the server asks what objects of a kind look like: admission, patches, ownership, fields, columns.
//!
//! Everything here is pure and delegates to `purlin-schema` where that crate has the knowledge.

pub(crate) mod selector;
pub(crate) mod table;

use serde_json::Value;

use crate::catalogue::Resource;
use crate::engine::Intent;
use crate::status::{ApiError, Cause};

/// The ways to patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Defaults, prunes and validates; the answer is warnings.
pub(crate) fn admit(
    _resource: &Resource,
    _object: &mut Value,
    _old: Option<&Value>,
    _intent: &Intent,
) -> Result<Vec<String>, ApiError> {
    Ok(Vec::new())
}

/// Writes down in `managedFields` which manager set what.
pub(crate) fn own(
    _resource: &Resource,
    _old: Option<&Value>,
    _object: &mut Value,
    _intent: &Intent,
    _now: &str,
) -> Result<(), ApiError> {
    Ok(())
}

/// `old` with `patch` applied.
pub(crate) fn patch(
    resource: &Resource,
    old: &Value,
    kind: PatchKind,
    patch: &Value,
    _intent: &Intent,
    _now: &str,
) -> Result<Value, ApiError> {
    let mut new = old.clone();
    match kind {
        PatchKind::Json => {
            let operations: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
            json_patch::patch(&mut new, &operations).map_err(|error| {
                ApiError::invalid(
                    resource.about("").unnamed(),
                    vec![Cause { reason: String::new(), message: error.to_string(), field: String::new() }],
                )
            })?;
        }
        PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => json_patch::merge(&mut new, patch),
    }
    Ok(new)
}

/// Refuses a field that objects of the resource cannot be selected by.
pub(crate) fn check_field(resource: &Resource, path: &str) -> Result<(), ApiError> {
    let dotted = format!(".{path}");
    let custom = resource.custom.as_ref().is_some_and(|custom| custom.fields.contains(&dotted));
    let known: &[&str] = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("apps", "replicasets") | ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    };
    let always = path == "metadata.name" || (path == "metadata.namespace" && resource.namespaced);
    if always || custom || known.contains(&path) {
        return Ok(());
    }
    Err(ApiError::bad_request(if resource.custom.is_some() {
        format!("field label not supported: {path}")
    } else {
        format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }))
}

/// The value that a field selector compares.
pub(crate) fn field(object: &Value, path: &str) -> String {
    match at_path(object, path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
            "status.replicas" | "status.successful" => "0".into(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

/// What a simple path (`.spec.replicas`) leads to.
pub(crate) fn at_path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(object, |place, step| place.get(step))
}
