//! Metrics in lines of JSON: one object a line, each field that is a number (or a number in a string) a metric.

use serde_json::Value;

/// Reads one line. What is not a JSON object is passed over.
pub(super) fn read_line(line: &str, found: &mut impl FnMut(&str, &str)) {
    // Before the object a runtime may have put a timestamp.
    let Some(start) = line.find('{') else { return };
    let Ok(Value::Object(fields)) = serde_json::from_str(&line[start..]) else { return };
    for (name, value) in &fields {
        match value {
            Value::Number(number) => found(name, &number.to_string()),
            Value::String(text) => found(name, text.trim()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
        }
    }
}
