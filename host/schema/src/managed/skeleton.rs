//! The fields that an object of a built-in kind always has, because the server keeps them as structs.
//!
//! Ownership is about what a writer changed. A part that was there before anybody wrote, such as `spec`, was not brought
//! by the writer of what is in it, so comparisons are made with these parts filled in on both sides.

use serde_json::{Map, Value};

use crate::schema::{Node, Schema};

/// `value` with the parts that its schema says are always there; required ones that are not structs become null.
pub(super) fn with_skeleton(value: &Value, schema: Option<&Schema>) -> Value {
    let mut filled = value.clone();
    if let Some(schema) = schema {
        fill(&mut filled, schema.node(), true);
    }
    filled
}

fn fill(value: &mut Value, node: &Node, top: bool) {
    let Some(object) = value.as_object_mut() else { return };
    for (name, field) in &node.properties {
        if field.at_field().always {
            let below = object.entry(name.as_ref()).or_insert_with(|| Value::Object(Map::new()));
            fill(below, field.node(), false);
        } else if !top && node.required.contains(name) {
            object.entry(name.as_ref()).or_insert(Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin;

    #[test]
    fn structs_are_there_before_anybody_writes() {
        let schema = builtin::schema("apps", "v1", "Deployment").unwrap();
        let empty = with_skeleton(&json!({}), Some(&schema));
        assert_eq!(empty["spec"]["template"]["spec"], json!({"containers": null}));
        assert_eq!(empty["spec"]["strategy"], json!({}));
        assert_eq!(empty["status"], json!({}));
    }
}
