//! Whether an object fits a schema, in the words that the API server uses for custom resources.

use serde_json::Value;

use crate::cel_rules;
use crate::error::{FieldError, FieldErrorKind, shown};
use crate::managed::PathElement;
use crate::schema::{Bounds, Junctors, ListType, Node, Schema, Type};

/// Checks an object against its schema. `old` is what it was before, for rules that speak of a change.
pub fn validate(value: &Value, old: Option<&Value>, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(value, schema, "", &mut errors);
    check_rules(value, old, schema, &mut errors);
    errors
}

/// Checks an object of a built-in kind, in which a null or an empty text is a field that is not set.
pub fn validate_builtin(value: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(value, schema, "", &mut errors);
    errors.retain(|error| !matches!(error.value.as_deref(), Some("\"null\"" | "\"\"")));
    errors
}

/// Checks an object whose status alone was written: of the rest, only the rules are looked at. The words name what is in
/// the status as if it stood alone.
pub fn validate_status(value: &Value, old: Option<&Value>, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let (Some(status), Some(field)) = (value.get("status"), schema.field("status")) {
        check(status, field, "status", &mut errors);
    }
    for error in &mut errors {
        if let Some(alone) = error.detail.strip_prefix("status") {
            error.detail = alone.strip_prefix('.').unwrap_or(alone).to_owned();
        }
    }
    check_rules(value, old, schema, &mut errors);
    errors
}

/// Rules in CEL may take for granted that what they speak of is there and of its type.
fn check_rules(value: &Value, old: Option<&Value>, schema: &Schema, errors: &mut Vec<FieldError>) {
    if !schema.has_rules() {
        return;
    }
    let blocking = |error: &FieldError| match error.kind {
        FieldErrorKind::Required
        | FieldErrorKind::TypeInvalid
        | FieldErrorKind::NotSupported
        | FieldErrorKind::TooLong
        | FieldErrorKind::TooMany => true,
        FieldErrorKind::Invalid
        | FieldErrorKind::Duplicate
        | FieldErrorKind::NotFound
        | FieldErrorKind::Forbidden => false,
    };
    if errors.iter().any(blocking) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors \
                   to complete validation";
        errors.push(FieldError::invalid(at(""), &Value::Null, why));
    } else {
        cel_rules::check(value, old, schema, "", errors);
    }
}

fn check(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let node = schema.node();
    if value.is_null() && (node.nullable || schema.at_field().nullable) {
        return;
    }
    if !has_type(value, node) {
        errors.push(wrong_type(value, node, path));
        if node.kind == Type::Integer && node.format.is_none() && value.is_number() {
            let detail = format!("Checked value must be of type integer (default format) in {path}");
            errors.push(FieldError::invalid(at(""), &Value::from(""), detail));
        }
        return;
    }
    if !node.allowed.is_empty() && !node.allowed.contains(value) {
        let names: Vec<String> = node
            .allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(at(path), value, &names));
    }
    if let Some(bounds) = &node.bounds {
        check_bounds(value, bounds, path, errors);
    }
    check_format(value, node, path, errors);
    match value {
        Value::Object(object) => {
            for name in &node.required {
                if !object.contains_key(name.as_ref()) {
                    errors.push(FieldError::required(join(path, name), ""));
                }
            }
            for (name, child) in object {
                if let Some(field) = node.properties.get(name.as_str()) {
                    check(child, field, &join(path, name), errors);
                } else if let Some(field) = &node.additional {
                    check(child, field, &join(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    check(item, schema, &format!("{path}[{index}]"), errors);
                }
            }
            check_list_type(items, node, path, errors);
        }
        _ => {}
    }
    if let Some(junctors) = &node.junctors {
        check_junctors(value, junctors, path, errors);
    }
}

fn has_type(value: &Value, node: &Node) -> bool {
    if node.int_or_string {
        return is_integer(value) || value.is_string();
    }
    match node.kind {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Boolean => value.is_boolean(),
        Type::Number => value.is_number(),
        Type::Integer => is_integer(value),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn wrong_type(value: &Value, node: &Node, path: &str) -> FieldError {
    let wanted = if node.int_or_string { "integer,string" } else { node.kind.name() };
    let actual = type_of(value);
    let detail = format!("{} in body must be of type {wanted}: \"{actual}\"", path);
    let kind = if value.is_null() { FieldErrorKind::Invalid } else { FieldErrorKind::TypeInvalid };
    // The value itself may be large, so its type stands for it.
    FieldError { path: at(path).to_owned(), kind, value: Some(format!("\"{actual}\"")), detail }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_bounds(value: &Value, bounds: &Bounds, path: &str, errors: &mut Vec<FieldError>) {
    let body = path;
    let mut invalid = |detail: String| errors.push(FieldError::invalid(at(path), value, detail));
    match value {
        Value::Number(number) => {
            let Some(number) = number.as_f64() else { return };
            if let Some(least) = bounds.minimum {
                if bounds.exclusive_minimum && number <= least {
                    invalid(format!("{body} in body should be greater than {least}"));
                } else if number < least {
                    invalid(format!("{body} in body should be greater than or equal to {least}"));
                }
            }
            if let Some(most) = bounds.maximum {
                if bounds.exclusive_maximum && number >= most {
                    invalid(format!("{body} in body should be less than {most}"));
                } else if number > most {
                    invalid(format!("{body} in body should be less than or equal to {most}"));
                }
            }
            if let Some(factor) = bounds.multiple_of
                && (number / factor).fract() != 0.0
            {
                invalid(format!("{body} in body should be a multiple of {factor}"));
            }
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if bounds.min_length.is_some_and(|least| length < least) {
                let least = bounds.min_length.unwrap_or_default();
                invalid(format!("{body} in body should be at least {least} chars long"));
            }
            if let Some(pattern) = &bounds.pattern
                && !pattern.is_match(text)
            {
                invalid(format!("{body} in body should match '{pattern}'"));
            }
            if let Some(most) = bounds.max_length.filter(|most| length > *most) {
                errors.push(FieldError {
                    path: at(path).to_owned(),
                    kind: FieldErrorKind::TooLong,
                    value: None,
                    detail: format!("may not be more than {most} bytes"),
                });
            }
        }
        Value::Array(items) => {
            let count = items.len() as u64;
            if let Some(most) = bounds.max_items.filter(|most| count > *most) {
                errors.push(too_many(path, count, most));
            }
            if let Some(least) = bounds.min_items.filter(|least| count < *least) {
                errors.push(FieldError::invalid(
                    at(path),
                    &count.into(),
                    format!("{body} in body should have at least {least} items"),
                ));
            }
            if bounds.unique_items && (1..items.len()).any(|index| items[..index].contains(&items[index])) {
                errors.push(FieldError::invalid(
                    at(path),
                    value,
                    format!("{body} in body shouldn't contain duplicates"),
                ));
            }
        }
        Value::Object(object) => {
            let count = object.len() as u64;
            if let Some(most) = bounds.max_properties.filter(|most| count > *most) {
                errors.push(too_many(path, count, most));
            }
            if let Some(least) = bounds.min_properties.filter(|least| count < *least) {
                errors.push(FieldError::invalid(
                    at(path),
                    &count.into(),
                    format!("{body} in body should have at least {least} properties"),
                ));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn too_many(path: &str, count: u64, most: u64) -> FieldError {
    FieldError {
        path: at(path).to_owned(),
        kind: FieldErrorKind::TooMany,
        value: Some(count.to_string()),
        detail: format!("must have at most {most} items"),
    }
}

fn check_format(value: &Value, node: &Node, path: &str, errors: &mut Vec<FieldError>) {
    let Some(format) = node.format.as_deref() else { return };
    let fits = match (format, value) {
        ("int32", Value::Number(number)) => {
            number.as_i64().is_none_or(|number| i32::try_from(number).is_ok())
        }
        ("date-time", Value::String(text)) => text.parse::<jiff::Timestamp>().is_ok(),
        ("date", Value::String(text)) => text.parse::<jiff::civil::Date>().is_ok(),
        ("byte", Value::String(text)) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        ("ipv4", Value::String(text)) => text.parse::<std::net::Ipv4Addr>().is_ok(),
        ("ipv6", Value::String(text)) => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    if !fits {
        let detail = format!("{} in body must be of type {format}: {}", path, shown(value));
        errors.push(FieldError::of(FieldErrorKind::TypeInvalid, at(path), value, detail));
    }
}

fn check_list_type(items: &[Value], node: &Node, path: &str, errors: &mut Vec<FieldError>) {
    let key = |item: &Value| match &node.list {
        ListType::Atomic => None,
        ListType::Set => Some(PathElement::Value(item.clone())),
        ListType::Map(keys) => Some(PathElement::Key(
            keys.iter().filter_map(|key| Some((key.clone(), item.get(key.as_ref())?.clone()))).collect(),
        )),
    };
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let Some(key) = key(item) else { return };
        let shown = match &key {
            PathElement::Key(keys) => {
                Value::Object(keys.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
            }
            PathElement::Field(_) | PathElement::Value(_) | PathElement::Index(_) => item.clone(),
        };
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &shown));
        }
    }
}

fn check_junctors(value: &Value, junctors: &Junctors, path: &str, errors: &mut Vec<FieldError>) {
    let fits = |schema: &Schema| {
        let mut found = Vec::new();
        check(value, schema, path, &mut found);
        found
    };
    for schema in &junctors.all_of {
        errors.extend(fits(schema));
    }
    let body = path;
    let mut invalid = |detail: String| {
        errors.push(FieldError {
            path: at(path).to_owned(),
            kind: FieldErrorKind::Invalid,
            value: Some(shown_short(value)),
            detail,
        });
    };
    if !junctors.any_of.is_empty() && !junctors.any_of.iter().any(|schema| fits(schema).is_empty()) {
        invalid(format!("{body} in body must validate at least one schema (anyOf)"));
    }
    if !junctors.one_of.is_empty()
        && junctors.one_of.iter().filter(|schema| fits(schema).is_empty()).count() != 1
    {
        invalid(format!("{body} in body must validate one and only one schema (oneOf)"));
    }
    if junctors.not.as_ref().is_some_and(|schema| fits(schema).is_empty()) {
        invalid(format!("{body} in body must not validate the schema (not)"));
    }
}

/// Objects and lists are not shown whole in an error.
fn shown_short(value: &Value) -> String {
    if value.is_object() || value.is_array() { format!("\"{}\"", type_of(value)) } else { shown(value) }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path of an error about the whole object.
pub(crate) fn at(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn errors(schema: Value, value: Value) -> Vec<String> {
        let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": schema}})).unwrap();
        validate(&json!({"spec": value}), None, &schema).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn types() {
        assert_eq!(
            errors(json!({"type": "integer"}), json!("x")),
            [r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#]
        );
        assert!(errors(json!({"type": "integer"}), json!(3.0)).is_empty());
        assert!(errors(json!({"x-kubernetes-int-or-string": true}), json!("50%")).is_empty());
        assert!(errors(json!({"type": "string", "nullable": true}), Value::Null).is_empty());
    }

    #[test]
    fn limits() {
        assert_eq!(
            errors(json!({"type": "integer", "minimum": 1}), json!(0)),
            ["spec: Invalid value: 0: spec in body should be greater than or equal to 1"]
        );
        assert_eq!(
            errors(json!({"type": "string", "pattern": "^a+$"}), json!("b")),
            [r#"spec: Invalid value: "b": spec in body should match '^a+$'"#]
        );
        assert_eq!(
            errors(json!({"type": "string", "enum": ["b", "a"]}), json!("c")),
            [r#"spec: Unsupported value: "c": supported values: "b", "a""#]
        );
    }

    #[test]
    fn required_and_duplicates() {
        assert_eq!(
            errors(json!({"type": "object", "required": ["a"]}), json!({})),
            ["spec.a: Required value"]
        );
        let list = json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]});
        assert_eq!(errors(list, json!([{"n": "a"}, {"n": "a"}])), [r#"spec[1]: Duplicate value: {"n":"a"}"#]);
    }

    #[test]
    fn rules() {
        let schema = json!({"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.min <= self.max", "message": "min is at most max"}]});
        assert!(errors(schema.clone(), json!({"min": 1, "max": 2})).is_empty());
        assert_eq!(errors(schema, json!({"min": 3, "max": 2})), ["spec: Invalid value: min is at most max"]);
    }

    proptest! {
        #[test]
        fn no_value_panics(text in ".{0,30}", number in any::<f64>()) {
            let schema = json!({"type": "object", "properties": {"a": {"type": "string", "format": "date-time"}, "b": {"type": "integer", "format": "int32"}}});
            let _ = errors(schema, json!({"a": text, "b": number}));
        }
    }
}
