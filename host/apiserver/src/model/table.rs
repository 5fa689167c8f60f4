//! Rows and columns of the `Table` form that kubectl prints.

use serde_json::{Value, json};

use crate::catalogue::Resource;

/// The columns of a resource.
pub(crate) fn columns(resource: &Resource) -> Value {
    let mut columns = vec![json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name must be unique within a namespace.",
    })];
    match resource.custom.as_ref().filter(|custom| !custom.columns.is_empty()) {
        Some(custom) => columns.extend(custom.columns.iter().map(|column| {
            json!({
                "name": column["name"], "type": column["type"],
                "format": column["format"].as_str().unwrap_or_default(),
                "description": column["description"].as_str().unwrap_or("Custom resource definition column"),
                "priority": column["priority"].as_i64().unwrap_or(0),
            })
        })),
        None => columns.push(json!({
            "name": "Age", "type": "date", "format": "", "priority": 0, "description": "Age of the object.",
        })),
    }
    Value::Array(columns)
}

/// The cells of one object.
pub(crate) fn cells(resource: &Resource, object: &Value) -> Value {
    let mut cells = vec![object["metadata"]["name"].clone()];
    match resource.custom.as_ref().filter(|custom| !custom.columns.is_empty()) {
        Some(custom) => cells.extend(custom.columns.iter().map(|column| {
            let path = column["jsonPath"].as_str().unwrap_or_default();
            let value = super::at_path(object, path).cloned().unwrap_or(Value::Null);
            if column["type"] == "date" { age(&value) } else { value }
        })),
        None => cells.push(age(&object["metadata"]["creationTimestamp"])),
    }
    Value::Array(cells)
}

fn age(value: &Value) -> Value {
    let Some(at) = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) else {
        return if value.is_null() { Value::Null } else { "<unknown>".into() };
    };
    short(jiff::Timestamp::now().as_second() - at.as_second()).into()
}

/// A span as kubectl shows it: two units while they tell something.
fn short(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        ..0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        172_800..63_072_000 => format!("{days}d"),
        _ => format!("{}y{}d", days / 365, days % 365),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn spans_are_short() {
        let spans = [
            (5, "5s"),
            (119, "119s"),
            (150, "2m30s"),
            (700, "11m"),
            (11_000, "3h3m"),
            (200_000, "2d7h"),
            (900_000, "10d"),
        ];
        for (seconds, text) in spans {
            assert_eq!(short(seconds), text);
        }
    }
}
