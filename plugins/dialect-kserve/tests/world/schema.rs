//! Definitions, and what a server that has them makes of an object.

use std::path::Path;

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::Value;

use super::documents;

/// What a server would refuse, or drop without a word.
fn wrong(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut say = |what: &str| found.push(format!("{path}: {what}: {value}"));
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        say("not one of the choices");
    }
    let number = value.as_f64();
    if schema["minimum"].as_f64().zip(number).is_some_and(|(least, value)| value < least)
        || schema["maximum"].as_f64().zip(number).is_some_and(|(most, value)| value > most)
    {
        say("out of range");
    }
    if schema["x-kubernetes-int-or-string"] == true {
        if !(value.is_string() || value.is_i64()) {
            say("neither a number nor a text");
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    let absent = value.is_null() && schema["nullable"] == true;
    if !(fits || absent) {
        say("of another type");
        return;
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.get(required.as_str().unwrap_or_default()).is_none() {
            say(&format!("{required} is missing"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        wrong(&schema["items"], item, &format!("{path}[{index}]"), found);
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(schema), _) => wrong(schema, field, &path, found),
            (None, Some(schema)) if schema.is_object() => wrong(schema, field, &path, found),
            (None, Some(_)) => {}
            (None, None) if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            // A server knows these by itself.
            (None, None)
                if ["$.apiVersion", "$.kind", "$.metadata"].iter().any(|own| path.starts_with(own)) => {}
            (None, None) => found.push(format!("{path}: dropped: {field}")),
        }
    }
}

/// The schema of a kind in one version.
pub fn schema(definitions: &[Value], object: &Value) -> Option<Value> {
    let (group, version) = object.text(&["apiVersion"]).split_once('/')?;
    let of_kind = |crd: &&Value| {
        crd.text(&["spec", "group"]) == group
            && crd.text(&["spec", "names", "kind"]) == object.text(&["kind"])
    };
    let crd = definitions.iter().find(of_kind)?;
    let version = crd.items(&["spec", "versions"]).iter().find(|each| each.text(&["name"]) == version)?;
    Some(version["schema"]["openAPIV3Schema"].clone())
}

/// Those that the plugin brings, and those of the generic kinds.
pub fn definitions() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = std::fs::read_dir(root.join("crds")).expect("crds");
    let own = own
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    own.chain([root.join("../../deploy/base/crds.yaml")]).flat_map(|path| documents(&path)).collect()
}

/// What a server would say to an object.
pub fn faults_of(definitions: &[Value], object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(schema) = schema(definitions, object) {
        wrong(&schema, object, "$", &mut found);
    }
    found
}
