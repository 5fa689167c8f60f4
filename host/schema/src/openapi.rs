//! The OpenAPI definitions of kinds, with descriptions, for `kubectl explain` and clients that check before they send.
//!
//! Types and Kubernetes' extensions come from the table of [`builtin`]; what a field is for comes from the JSON
//! schemas of the `k8s-openapi` crate. Nothing is kept: the documents are large and asked for rarely.

mod described;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::builtin;

const PREFIX: &str = "#/components/schemas/";

/// The definition of a built-in kind and all that it refers to, by name, for `components.schemas`.
///
/// `None` where there is no such kind.
pub fn definitions(
    group: &str,
    version: &str,
    kind: &str,
) -> Option<(&'static str, BTreeMap<String, Value>)> {
    let root = builtin::definition_name(group, version, kind)?;
    let descriptions = described::schemas(root);
    let mut found = BTreeMap::new();
    let mut wanted = vec![root.to_owned()];
    while let Some(name) = wanted.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let Some(mut schema) = builtin::raw_definition(&name) else { continue };
        if let Some(described) = descriptions.get(&name) {
            describe(&mut schema, described);
        }
        publish(&mut schema, &mut wanted);
        if let Some((group, version, kind)) = builtin::kind_of(&name) {
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": group, "version": version, "kind": kind}]);
        }
        found.insert(name, schema);
    }
    Some((root, found))
}

/// A custom resource's schema as it is published: with the fields that every object has, and its group, version and kind.
pub fn custom(schema: &Value, group: &str, version: &str, kind: &str) -> Value {
    let mut published = if schema.is_object() { schema.clone() } else { json!({"type": "object"}) };
    if published.get("type").is_none() {
        published["type"] = "object".into();
    }
    let text = |description: &str| json!({"type": "string", "description": description});
    if let Some(object) = published.as_object_mut() {
        let properties = object.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        properties["apiVersion"] = text("The version of the schema that this object is written in.");
        properties["kind"] = text("The kind of this object, in CamelCase.");
        properties["metadata"] = json!({
            "description": "Standard object's metadata.",
            "allOf": [{"$ref": format!("{PREFIX}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")}],
        });
        for property in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            spell_int_or_string(property.1);
        }
        object.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!([{"group": group, "version": version, "kind": kind}]),
        );
    }
    published
}

/// Says in plain OpenAPI what `x-kubernetes-int-or-string` means.
fn spell_int_or_string(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !object.contains_key("anyOf") {
        object.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(key) {
            spell_int_or_string(below);
        }
    }
    for field in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        spell_int_or_string(field.1);
    }
}

/// The definitions of the metadata that every object has.
pub fn metadata() -> BTreeMap<String, Value> {
    let (_, mut all) = definitions("", "v1", "ConfigMap").unwrap_or_default();
    all.retain(|name, _| name.starts_with("io.k8s.apimachinery."));
    all
}

/// Copies descriptions from one schema to another of the same shape.
fn describe(schema: &mut Value, described: &Value) {
    if let Some(description) = described.get("description") {
        schema["description"] = description.clone();
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, field) in properties {
            if let Some(described) = described.get("properties").and_then(|properties| properties.get(name)) {
                describe(field, described);
            }
        }
    }
}

/// Makes references complete, and those beside other keywords an `allOf`, as OpenAPI 3.0 needs; notes what they name.
fn publish(schema: &mut Value, wanted: &mut Vec<String>) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(name)) = object.remove("$ref") {
        let reference = json!({"$ref": format!("{PREFIX}{name}")});
        wanted.push(name);
        object.insert("allOf".to_owned(), json!([reference]));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(key) {
            publish(below, wanted);
        }
    }
    for field in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        publish(field.1, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_described_with_all_that_it_refers_to() {
        let (root, all) = definitions("", "v1", "Pod").unwrap();
        assert_eq!(root, "io.k8s.api.core.v1.Pod");
        let containers = &all["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert!(containers["description"].as_str().unwrap().starts_with("List of containers"));
        assert_eq!(
            containers["items"]["allOf"][0]["$ref"],
            "#/components/schemas/io.k8s.api.core.v1.Container"
        );
        assert!(all.contains_key("io.k8s.api.core.v1.Container"));
        assert_eq!(all[root]["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    }

    #[test]
    fn metadata_stands_alone() {
        let all = metadata();
        assert!(all.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
        assert!(all.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference"));
    }
}
