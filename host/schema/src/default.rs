//! Filling in what a schema gives a default for.

use serde_json::Value;

use crate::schema::Schema;

/// Fills in the defaults of missing fields. A null where null is no value, and there is a default, is missing; one
/// without a default is dropped.
pub fn apply_defaults(value: &mut Value, schema: &Schema) {
    let node = schema.node();
    match value {
        Value::Object(object) => {
            for (name, field) in &node.properties {
                let nullable = field.node().nullable || field.at_field().nullable;
                let missing = match object.get(name.as_ref()) {
                    None => true,
                    Some(Value::Null) => !nullable,
                    Some(_) => false,
                };
                if !missing {
                    continue;
                }
                match field.at_field().default.as_ref().or(field.node().default.as_ref()) {
                    Some(default) => {
                        object.insert(name.to_string(), default.clone());
                    }
                    None => {
                        object.remove(name.as_ref());
                    }
                }
            }
            for (name, child) in object.iter_mut() {
                if let Some(field) = schema.field(name) {
                    apply_defaults(child, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &node.items {
                for item in items {
                    apply_defaults(item, schema);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_fill_what_is_missing_and_what_they_bring() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "default": {}, "properties": {
                "replicas": {"type": "integer", "default": 1},
                "name": {"type": "string", "nullable": true, "default": "x"}}}}}))
        .unwrap();
        let mut value = json!({});
        apply_defaults(&mut value, &schema);
        assert_eq!(value, json!({"spec": {"replicas": 1, "name": "x"}}));
        let mut value = json!({"spec": {"replicas": null, "name": null}});
        apply_defaults(&mut value, &schema);
        assert_eq!(value, json!({"spec": {"replicas": 1, "name": null}}));
    }
}
