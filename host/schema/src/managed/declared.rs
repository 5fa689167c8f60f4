//! Whether an applied configuration has only fields of its kind, of their types.
//!
//! An apply is refused where other writes only drop what is unknown: whoever applies owns what they name, and nobody can
//! own a field that does not exist. Null stands for a field that is not applied, whatever its type.

use serde_json::Value;

use crate::schema::{Node, Schema, Type};

/// Everything that a configuration has and its kind has not, each with its path, in the words of a real server.
pub fn undeclared(config: &Value, schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    look(config, schema, "", &mut found);
    found
}

fn look(value: &Value, schema: &Schema, path: &str, found: &mut Vec<String>) {
    let node = schema.node();
    if value.is_null() || node.int_or_string {
        return;
    }
    let path_shown = if path.is_empty() { "." } else { path };
    match (node.kind, value) {
        (_, Value::Object(fields)) if node.kind == Type::Object || !node.properties.is_empty() => {
            for (name, child) in fields {
                let below = format!("{path}.{name}");
                match schema.field(name) {
                    Some(field) => look(child, field, &below, found),
                    None if keeps(node) => {}
                    None => found.push(format!("{below}: field not declared in schema")),
                }
            }
        }
        (Type::Array, Value::Array(items)) => {
            if let Some(schema) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    look(item, schema, &format!("{path}[{index}]"), found);
                }
            }
        }
        (Type::String, Value::String(_))
        | (Type::Integer | Type::Number, Value::Number(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::Any, _) => {}
        (Type::Object, other) => {
            found.push(format!("{path_shown}: expected map, got &{{{}}}", go_text(other)))
        }
        (Type::Array, other) => {
            found.push(format!("{path_shown}: expected list, got &{{{}}}", go_text(other)))
        }
        (Type::Integer | Type::Number, other) => {
            found.push(format!("{path_shown}: expected numeric (int or float), got {}", go_type(other)));
        }
        (Type::String, other) => found.push(format!("{path_shown}: expected string, got {}", boxed(other))),
        (Type::Boolean, other) => found.push(format!("{path_shown}: expected boolean, got {}", boxed(other))),
    }
}

fn keeps(node: &Node) -> bool {
    node.preserve_unknown || node.embedded
}

fn boxed(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{value}}}")
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go prints it by default: `map[a:1 b:[x y]]`.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}:{}", go_text(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin;

    #[test]
    fn what_a_kind_does_not_have_is_named() {
        let map = builtin::schema("", "v1", "ConfigMap").unwrap();
        let found = undeclared(&json!({"data": {"x": 5, "y": null}, "unknown": 1}), &map);
        assert_eq!(
            found,
            [
                ".data.x: expected string, got &value.valueUnstructured{Value:5}",
                ".unknown: field not declared in schema",
            ]
        );
        let deployment = builtin::schema("apps", "v1", "Deployment").unwrap();
        let good = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": "5%"}}}});
        assert_eq!(undeclared(&good, &deployment), Vec::<String>::new());
    }

    #[test]
    fn values_are_printed_as_go_does() {
        assert_eq!(go_text(&json!({"b": [1, "x"], "a": null})), "map[a:<nil> b:[1 x]]");
    }
}
