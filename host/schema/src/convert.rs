//! Kinds that are served in two groups and stored once. There is one: Events, which the core group and `events.k8s.io`
//! show with different names of the same fields.
//!
//! Called by the embedded API, which stores the core form.

use serde_json::Value;

/// Names of one field: in `v1`, in `events.k8s.io/v1`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// An Event of `events.k8s.io/v1` as one of `v1`.
pub fn event_to_core(event: &mut Value) {
    rename(event, "v1", EVENT_FIELDS.map(|(core, grouped)| (grouped, core)));
}

/// An Event of `v1` as one of `events.k8s.io/v1`.
pub fn event_from_core(event: &mut Value) {
    rename(event, "events.k8s.io/v1", EVENT_FIELDS);
}

fn rename(event: &mut Value, api_version: &str, names: [(&str, &str); 7]) {
    let Some(fields) = event.as_object_mut() else { return };
    fields.insert("apiVersion".to_owned(), api_version.into());
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "involvedObject": {"name": "b"},
            "message": "m", "count": 2, "reason": "R", "reportingComponent": "c",
        });
        let mut event = core.clone();
        event_from_core(&mut event);
        assert_eq!(event["regarding"]["name"], "b");
        assert_eq!(event["note"], "m");
        assert_eq!(event.get("message"), None);
        event_to_core(&mut event);
        assert_eq!(event, core);
    }
}
