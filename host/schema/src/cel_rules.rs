//! Validation rules in CEL (`x-kubernetes-validations`): `self` is the value, `oldSelf` what it was.

use cel::{Context, Program, Value as Cel};
use serde_json::Value;

use crate::error::{FieldError, FieldErrorKind};
use crate::schema::{Rule, Schema};
use crate::validate::{at, join};

/// Checks the rules of a schema and of all below it.
pub(crate) fn check(
    value: &Value,
    old: Option<&Value>,
    schema: &Schema,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let node = schema.node();
    for rule in &node.rules {
        check_rule(rule, value, old, path, errors);
    }
    match value {
        Value::Object(object) => {
            for (name, child) in object {
                if let Some(field) = schema.field(name) {
                    check(child, old.and_then(|old| old.get(name)), field, &join(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                // Only items of a map have a past; which one it was is decided by its keys.
                check(item, None, schema, &format!("{path}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

fn check_rule(rule: &Rule, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let speaks_of_change = rule.rule.contains("oldSelf");
    if speaks_of_change && old.is_none() {
        return;
    }
    let outcome = Program::compile(&rule.rule)
        .map_err(|error| format!("the rule does not compile: {error}"))
        .and_then(|program| evaluate(&program, value, old));
    let message = match outcome {
        Ok(Cel::Bool(true)) => return,
        Ok(Cel::Bool(false)) => said(rule, value, old),
        Ok(other) => format!("the rule {:?} gave {other:?}, not true or false", rule.rule),
        Err(error) => format!("rule evaluation error: {error}"),
    };
    let kind = match rule.reason.as_deref() {
        Some("FieldValueRequired") => FieldErrorKind::Required,
        Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
        Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
        _ => FieldErrorKind::Invalid,
    };
    let path = format!("{}{}", at(path), rule.field_path.as_deref().unwrap_or_default());
    let shown = match (kind, value) {
        (FieldErrorKind::Required | FieldErrorKind::Forbidden, _) => None,
        // What is large is not repeated.
        (_, Value::Object(_) | Value::Array(_)) => None,
        (_, other) => Some(other.to_string()),
    };
    errors.push(FieldError { path, kind, value: shown, detail: message });
}

fn said(rule: &Rule, value: &Value, old: Option<&Value>) -> String {
    let computed = rule.message_expression.as_deref().and_then(|expression| {
        let program = Program::compile(expression).ok()?;
        match evaluate(&program, value, old).ok()? {
            Cel::String(text) => Some(text.to_string()),
            _ => None,
        }
    });
    computed.or_else(|| rule.message.clone()).unwrap_or_else(|| format!("failed rule: {}", rule.rule))
}

fn evaluate(program: &Program, value: &Value, old: Option<&Value>) -> Result<Cel, String> {
    let mut context = Context::default();
    context.add_variable("self", value).map_err(|error| error.to_string())?;
    if let Some(old) = old {
        context.add_variable("oldSelf", old).map_err(|error| error.to_string())?;
    }
    program.execute(&context).map_err(|error| error.to_string())
}
