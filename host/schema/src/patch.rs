//! The patches of the Kubernetes API other than apply: RFC 6902 JSON patch, RFC 7386 merge patch, and the strategic merge
//! patch of built-in kinds.

mod strategic;

use serde_json::{Map, Value};

pub use strategic::strategic;

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The body is no patch of this type.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object.
    #[error("{0}")]
    Unfitting(String),
    /// Something that a real server has no code for.
    #[error("{0}")]
    Unknown(String),
}

/// Applies an RFC 6902 JSON patch. As on a real server, `replace` of an object's field that is not there adds it.
///
/// # Errors
/// [`PatchError`]; the target is then to be thrown away.
pub fn json(mut target: Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        let given = match patch {
            Value::Object(_) => "object",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null | Value::Array(_) => "null",
        };
        return Err(PatchError::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {given} into Go value of type []handlers.jsonPatchOp"
        )));
    };
    for operation in operations {
        let mut operation: json_patch::PatchOperation = serde_json::from_value(operation.clone())
            .map_err(|error| PatchError::Unfitting(error.to_string()))?;
        if let json_patch::PatchOperation::Replace(replace) = &operation
            && replace.path.split_back().is_some_and(|(parent, _)| {
                parent.resolve(&target).is_ok_and(Value::is_object) && replace.path.resolve(&target).is_err()
            })
        {
            operation = json_patch::PatchOperation::Add(json_patch::AddOperation {
                path: replace.path.clone(),
                value: replace.value.clone(),
            });
        }
        json_patch::patch(&mut target, &[operation])
            .map_err(|error| PatchError::Unfitting(error.to_string()))?;
    }
    Ok(target)
}

/// Applies an RFC 7386 merge patch: objects are merged, null takes a field out, everything else replaces.
pub fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut object = match target {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    for (name, change) in changes {
        if change.is_null() {
            object.remove(name);
        } else {
            let old = object.remove(name).unwrap_or(Value::Null);
            object.insert(name.clone(), merge(old, change));
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn null_takes_a_field_out() {
        assert_eq!(
            merge(json!({"a": 1, "b": {"c": 2}}), &json!({"a": null, "b": {"d": 3}})),
            json!({"b": {"c": 2, "d": 3}})
        );
    }

    #[test]
    fn json_patches_test_before_they_change() {
        let patch = json!([{"op": "test", "path": "/a", "value": 2}, {"op": "remove", "path": "/a"}]);
        assert!(matches!(json(json!({"a": 1}), &patch), Err(PatchError::Unfitting(_))));
        assert_eq!(json(json!({"a": 2}), &patch), Ok(json!({})));
        assert!(matches!(json(json!({}), &json!({"op": "add"})), Err(PatchError::Malformed(_))));
        let replace = json!([{"op": "replace", "path": "/new", "value": 1}]);
        assert_eq!(json(json!({}), &replace), Ok(json!({"new": 1})));
    }

    proptest! {
        #[test]
        fn merging_twice_is_merging_once(target in any_json(), patch in any_json()) {
            let once = merge(target, &patch);
            prop_assert_eq!(merge(once.clone(), &patch), once);
        }
    }
}
