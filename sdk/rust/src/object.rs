//! Reading Kubernetes objects as JSON: what nearly every dialect asks of a `serde_json::Value`. A field that is missing
//! and a field of another type read alike, since a schema has been checked before a plugin sees an object.

use serde_json::Value;

/// A Kubernetes object, or part of one.
pub trait Object {
    /// The value at a path of field names: `at(&["spec", "objective", "type"])`.
    fn at(&self, path: &[&str]) -> Option<&Value>;

    /// The text at a path, empty where there is none.
    fn text(&self, path: &[&str]) -> &str;

    /// The whole number at a path.
    fn int(&self, path: &[&str]) -> Option<i64>;

    /// The items at a path, none where there is no list.
    fn items(&self, path: &[&str]) -> &[Value];

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// `metadata.namespace`, empty for a cluster-scoped object.
    fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }

    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str> {
        self.at(&["metadata", "labels", key]).and_then(Value::as_str)
    }

    /// The value of an annotation.
    fn annotation(&self, key: &str) -> Option<&str> {
        self.at(&["metadata", "annotations", key]).and_then(Value::as_str)
    }

    /// Whether it is of this kind.
    fn is(&self, api_version: &str, kind: &str) -> bool {
        self.text(&["kind"]) == kind && self.text(&["apiVersion"]) == api_version
    }

    /// The entry of `status.conditions` with this type.
    fn condition(&self, kind: &str) -> Option<&Value> {
        self.items(&["status", "conditions"]).iter().find(|condition| condition.text(&["type"]) == kind)
    }

    /// Whether `status.conditions` has this type with the status `True`.
    fn is_true(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.text(&["status"]) == "True")
    }
}

impl Object for Value {
    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, field| value.get(field)).filter(|value| !value.is_null())
    }

    fn text(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    fn int(&self, path: &[&str]) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    fn items(&self, path: &[&str]) -> &[Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_is_there_and_nothing_else() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
            "spec": {"n": 3, "list": [1, 2], "nothing": null},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Idle", "status": "False"}]},
        });
        assert!(object.is("v1", "Pod") && !object.is("v2", "Pod"));
        assert_eq!((object.name(), object.namespace()), ("a", ""));
        assert_eq!(object.label("app.kubernetes.io/name"), Some("x"));
        assert_eq!((object.int(&["spec", "n"]), object.int(&["spec", "list"])), (Some(3), None));
        assert_eq!(object.items(&["spec", "list"]).len(), 2);
        assert_eq!(object.at(&["spec", "nothing"]), None);
        assert!(object.is_true("Ready") && !object.is_true("Idle") && !object.is_true("Absent"));
    }
}
