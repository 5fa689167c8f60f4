//! Dropping the fields that a schema does not have.

use serde_json::Value;

use crate::schema::{Node, Schema, Type};

/// Takes out the fields that the schema does not have, and gives back their paths (`spec.foo`, `spec.list[0].bar`).
///
/// At the top, and in embedded objects, `apiVersion`, `kind` and `metadata` are always known.
pub fn prune(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut dropped = Vec::new();
    prune_object(value, schema, true, "", &mut dropped);
    dropped
}

fn prune_object(
    value: &mut Value,
    schema: &Schema,
    whole_object: bool,
    path: &str,
    dropped: &mut Vec<String>,
) {
    let node = schema.node();
    match value {
        Value::Object(object) => {
            let names: Vec<String> = object.keys().cloned().collect();
            for name in names {
                let below = join(path, &name);
                if let Some(field) = node.properties.get(name.as_str()).or(node.additional.as_ref()) {
                    if let Some(child) = object.get_mut(&name) {
                        prune_object(child, field, field.node().embedded, &below, dropped);
                    }
                } else if (whole_object && is_meta(&name)) || keeps_unknown(node) {
                    continue;
                } else {
                    object.remove(&name);
                    dropped.push(below);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &node.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune_object(item, schema, schema.node().embedded, &format!("{path}[{index}]"), dropped);
            }
        }
        _ => {}
    }
}

/// An object that a schema says nothing about, as built-in raw extensions are, keeps what it has.
fn keeps_unknown(node: &Node) -> bool {
    node.preserve_unknown
        || node.int_or_string
        || (node.properties.is_empty() && node.additional.is_none() && node.kind == Type::Any)
}

fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_go_and_are_named() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}}}}}))
        .unwrap();
        let mut value = json!({"apiVersion": "v1", "metadata": {"name": "x"}, "other": 1, "spec": {
            "list": [{"a": "x", "b": 1}], "free": {"any": 1}, "labels": {"k": "v"}}});
        assert_eq!(prune(&mut value, &schema), ["other", "spec.list[0].b"]);
        assert_eq!(value["spec"], json!({"list": [{"a": "x"}], "free": {"any": 1}, "labels": {"k": "v"}}));
    }
}
