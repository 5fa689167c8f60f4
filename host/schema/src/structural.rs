//! Whether a CRD's schema is structural, as custom resources need it to be pruned and defaulted.

use serde_json::Value;

use crate::error::{FieldError, FieldErrorKind};
use crate::schema::Schema;
use crate::validate::{join, validate};

/// What keeps a schema from being structural. `path` is where it stands, such as
/// `spec.versions[0].schema.openAPIV3Schema`.
pub fn check_structural(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema.get("type").and_then(Value::as_str).unwrap_or_default() == "" {
        errors.push(FieldError::required(join(path, "type"), "must not be empty at the root"));
    } else if schema.get("type").and_then(Value::as_str) != Some("object") {
        let value = schema.get("type").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid(join(path, "type"), value, "must be object at the root"));
    }
    check(schema, path, true, &mut errors);
    errors
}

fn check(schema: &Value, path: &str, root: bool, errors: &mut Vec<FieldError>) {
    let Some(object) = schema.as_object() else { return };
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
    let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or(false);
    let free = flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(join(path, "type"), &kind.into(), &TYPES));
    }
    if kind.is_empty() && !free && !root {
        errors
            .push(FieldError::required(join(path, "type"), "must not be empty for specified object fields"));
    }
    if object.contains_key("$ref") {
        errors.push(FieldError::forbidden(
            join(path, "$ref"),
            "references are not allowed in structural schemas",
        ));
    }
    if kind == "array" && object.get("items").is_none_or(Value::is_null) {
        errors.push(FieldError::required(join(path, "items"), "must be specified"));
    }
    if let (Some(default), false) = (object.get("default"), root) {
        check_default(default, schema, path, errors);
    }
    for (at, rule) in
        object.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
        if let Err(error) = cel::Program::compile(text) {
            let field = |name: &str| rule.get(name).cloned();
            errors.push(FieldError {
                path: format!("{path}.x-kubernetes-validations[{at}].rule"),
                kind: FieldErrorKind::Invalid,
                // A real server shows the rule under the names of its own fields.
                value: Some(format!(
                    "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
                    Value::from(text),
                    field("message").unwrap_or_else(|| "".into()),
                    field("messageExpression").unwrap_or_else(|| "".into()),
                    field("reason").unwrap_or_default(),
                    field("fieldPath").unwrap_or_else(|| "".into()),
                    field("optionalOldSelf").unwrap_or_default(),
                )),
                detail: format!("compilation failed: {}", error.to_string().replace("\n|", "\n |")),
            });
        }
    }
    let has_properties =
        object.get("properties").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    let has_additional =
        object.get("additionalProperties").is_some_and(|value| !value.is_null() && *value != false);
    if has_properties && has_additional {
        errors.push(FieldError::forbidden(
            join(path, "additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        ));
    }
    for (name, child) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        // The API server gives metadata its own meaning.
        if root && name == "metadata" {
            continue;
        }
        check(child, &format!("{path}.properties[{name}]"), false, errors);
    }
    if let Some(items) = object.get("items") {
        check(items, &join(path, "items"), false, errors);
    }
    if let Some(additional) = object.get("additionalProperties") {
        check(additional, &join(path, "additionalProperties"), false, errors);
    }
}

/// A default is a value that the schema itself takes.
fn check_default(default: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Ok(parsed) = Schema::parse(schema) else { return };
    let at = join(path, "default");
    for mut error in validate(default, None, &parsed) {
        error.path = if error.path == "<nil>" { at.clone() } else { join(&at, &error.path) };
        errors.push(error);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_need_types_and_lists_items() {
        let schema = json!({"type": "object", "properties": {"a": {}, "b": {"type": "array"}}});
        let errors: Vec<String> = check_structural(&schema, "s").iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "s.properties[a].type: Required value: must not be empty for specified object fields",
                "s.properties[b].items: Required value: must be specified",
            ]
        );
        assert!(check_structural(&json!({"type": "object"}), "s").is_empty());
    }
}
