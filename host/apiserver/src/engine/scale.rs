//! The scale subresource: one view on the replica counts of workloads and of custom resources that declare it.

use serde_json::{Value, json};

use super::metadata::text;
use crate::catalogue::Resource;
use crate::model;
use crate::status::{About, ApiError, Cause};

/// The `Scale` of an object.
pub(crate) fn view(resource: &Resource, object: &Value) -> Result<Value, ApiError> {
    let metadata = &object["metadata"];
    let mut about = json!({
        "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
    });
    if let Some(fields) = about.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": about, "spec": {}});
    let (replicas, seen, selector) = match resource.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
        Some(paths) => (
            model::at_path(object, &paths.spec).cloned(),
            model::at_path(object, &paths.status).and_then(Value::as_i64).unwrap_or(0),
            paths
                .selector
                .as_ref()
                .and_then(|path| model::at_path(object, path))
                .and_then(Value::as_str)
                .map(str::to_owned),
        ),
        None => (
            Some(object["spec"]["replicas"].clone()),
            object["status"]["replicas"].as_i64().unwrap_or(0),
            Some(selector_text(&object["spec"]["selector"])),
        ),
    };
    if let Some(replicas) = replicas.filter(|replicas| replicas.as_i64().is_some_and(|count| count != 0)) {
        scale["spec"]["replicas"] = replicas;
    }
    scale["status"] = json!({"replicas": seen});
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        scale["status"]["selector"] = selector.into();
    }
    Ok(scale)
}

/// `object` with the replica count of `scale`.
pub(crate) fn applied(resource: &Resource, object: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    let name = text(object, "name");
    if replicas < 0 {
        let message = |why: &str| format!("Invalid value: {replicas}: {why}");
        let custom = resource.custom.as_ref().and_then(|custom| custom.scale.as_ref());
        return Err(match custom {
            Some(paths) => ApiError::invalid(
                resource.about_kind(name),
                vec![Cause::of("Invalid", &paths.spec, message("should be a non-negative integer"))],
            ),
            None => ApiError::invalid(
                About { group: "autoscaling", kind: "Scale", name },
                vec![Cause::of("Invalid", "spec.replicas", message("must be greater than or equal to 0"))],
            ),
        });
    }
    let path = resource
        .custom
        .as_ref()
        .and_then(|custom| custom.scale.as_ref())
        .map_or(".spec.replicas", |paths| paths.spec.as_str());
    let mut new = object.clone();
    let version = text(scale, "resourceVersion").to_owned();
    new["metadata"]["resourceVersion"] = version.into();
    let mut place = &mut new;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        place = place
            .as_object_mut()
            .map(|fields| fields.entry(step).or_insert(Value::Null))
            .ok_or_else(|| ApiError::internal(format!("{path} leads through something that is no object")))?;
        if place.is_null() {
            *place = json!({});
        }
    }
    *place = replicas.into();
    Ok(new)
}

fn selector_text(selector: &Value) -> String {
    let labels = if selector["matchLabels"].is_object() { &selector["matchLabels"] } else { selector };
    let terms: Vec<String> = labels
        .as_object()
        .map(|labels| labels.iter().filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?))).collect())
        .unwrap_or_default();
    terms.join(",")
}
