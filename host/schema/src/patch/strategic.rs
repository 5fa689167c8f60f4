//! Strategic merge patch: a merge patch that knows from the schema which lists are merged item by item, and takes
//! directives (`$patch`, `$retainKeys`, `$setElementOrder/<field>`, `$deleteFromPrimitiveList/<field>`).

use serde_json::{Map, Value};

use super::PatchError;
use crate::managed::go_text;
use crate::schema::{Node, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch.
///
/// # Errors
/// [`PatchError`] for a patch that is no object, an unknown directive, or an item without its merge key.
pub fn strategic(target: Value, patch: &Value, schema: Option<&Schema>) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("a strategic merge patch must be an object".to_owned()));
    };
    let target = match target {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    Ok(merge_object(target, patch, schema)?.map_or(Value::Null, Value::Object))
}

/// `None` where the patch deletes the object.
fn merge_object(
    mut target: Map<String, Value>,
    patch: &Map<String, Value>,
    schema: Option<&Schema>,
) -> Result<Option<Map<String, Value>>, PatchError> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) => match directive.as_str() {
            "replace" => {
                let mut whole = patch.clone();
                whole.remove(DIRECTIVE);
                return Ok(Some(whole));
            }
            "delete" => return Ok(None),
            "merge" => {}
            other => {
                return Err(PatchError::Unknown(format!(
                    "unknown patch type: {other} in map: {}",
                    go_text(&Value::Object(patch.clone()))
                )));
            }
        },
        Some(_) => return Err(PatchError::Malformed("the value of $patch must be a string".to_owned())),
    }
    if let Some(kept) = patch.get(RETAIN_KEYS) {
        let kept =
            kept.as_array().ok_or_else(|| PatchError::Malformed("$retainKeys must be a list".to_owned()))?;
        target.retain(|name, _| kept.iter().any(|kept| kept.as_str() == Some(name)));
    }
    for (name, change) in patch {
        if let Some(field) = name.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(&mut target, field, change)?;
        }
    }
    for (name, change) in patch {
        if name.starts_with('$') {
            continue;
        }
        let below = schema.and_then(|schema| schema.field(name));
        merge_field(&mut target, name, change, below)?;
    }
    for (name, order) in patch {
        if let Some(field) = name.strip_prefix(ORDER) {
            let below = schema.and_then(|schema| schema.field(field));
            reorder(&mut target, field, order, below)?;
        }
    }
    Ok(Some(target))
}

fn merge_field(
    target: &mut Map<String, Value>,
    name: &str,
    change: &Value,
    schema: Option<&Schema>,
) -> Result<(), PatchError> {
    match (change, target.remove(name)) {
        (Value::Null, _) => {}
        (Value::Object(change), old) => {
            let old = match old {
                Some(Value::Object(old)) => old,
                _ => Map::new(),
            };
            if let Some(merged) = merge_object(old, change, schema)? {
                target.insert(name.to_owned(), Value::Object(merged));
            }
        }
        (Value::Array(change), old) => {
            let old = match old {
                Some(Value::Array(old)) => old,
                _ => Vec::new(),
            };
            let merged = merge_list(name, old, change, schema)?;
            target.insert(name.to_owned(), Value::Array(merged));
        }
        (change, _) => {
            target.insert(name.to_owned(), change.clone());
        }
    }
    Ok(())
}

fn merge_list(
    name: &str,
    old: Vec<Value>,
    change: &[Value],
    schema: Option<&Schema>,
) -> Result<Vec<Value>, PatchError> {
    let at_field = schema.map(Schema::at_field);
    let merges = at_field.is_some_and(|node| node.strategy.merge);
    let replaces = change.iter().any(|item| item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace"));
    if replaces || !merges {
        return Ok(change.iter().filter(|item| item.get(DIRECTIVE).is_none()).cloned().collect());
    }
    let Some(key) = at_field.and_then(|node: &Node| node.merge_key.as_deref()) else {
        return Ok(merge_primitives(old, change));
    };
    let items = schema.and_then(|schema| schema.node().items.as_ref());
    let before = old.clone();
    let mut merged = old;
    for item in change {
        let Value::Object(item) = item else {
            return Err(PatchError::Unfitting(format!("the items of {name} in the patch must be objects")));
        };
        let Some(wanted) = item.get(key) else {
            if item.get(DIRECTIVE).and_then(Value::as_str) == Some("merge") {
                continue;
            }
            return Err(PatchError::Unknown(format!(
                "map: {} does not contain declared merge key: {key}",
                go_text(&Value::Object(item.clone()))
            )));
        };
        let at = merged.iter().position(|old| old.get(key) == Some(wanted));
        let old = match at {
            Some(at) => match merged[at].take() {
                Value::Object(old) => old,
                _ => Map::new(),
            },
            None => Map::new(),
        };
        match (at, merge_object(old, item, items)?) {
            (Some(at), Some(new)) => merged[at] = Value::Object(new),
            (Some(at), None) => {
                merged.remove(at);
            }
            (None, Some(mut new)) => {
                new.remove(DIRECTIVE);
                merged.push(Value::Object(new));
            }
            (None, None) => {}
        }
    }
    Ok(in_order(merged, change, &before, |a, b| a.get(key) == b.get(key)))
}

fn merge_primitives(old: Vec<Value>, change: &[Value]) -> Vec<Value> {
    let before = old.clone();
    let mut merged = old;
    for value in change {
        if !merged.contains(value) {
            merged.push(value.clone());
        }
    }
    in_order(merged, change, &before, |a, b| a == b)
}

/// The merged items as a real server orders them: those of the patch in its order, the others in theirs; between one of
/// each, the one that stood first comes first, and one that is new comes before one that is not.
fn in_order(
    merged: Vec<Value>,
    change: &[Value],
    before: &[Value],
    same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut patched, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(change, item).is_some());
    patched.sort_by_key(|item| place(change, item));
    others.sort_by_key(|item| place(before, item));
    let mut ordered = Vec::with_capacity(patched.len() + others.len());
    let (mut patched, mut others) = (patched.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(new), Some(old)) = (patched.peek(), others.peek()) {
        let stood_first = match (place(before, old), place(before, new)) {
            (Some(old), Some(new)) => old < new,
            _ => false,
        };
        ordered.extend(if stood_first { others.next() } else { patched.next() });
    }
    ordered.extend(patched);
    ordered.extend(others);
    ordered
}

fn delete_primitives(target: &mut Map<String, Value>, field: &str, values: &Value) -> Result<(), PatchError> {
    let values = values
        .as_array()
        .ok_or_else(|| PatchError::Malformed(format!("{DELETE_PRIMITIVES}{field} must be a list")))?;
    if let Some(Value::Array(items)) = target.get_mut(field) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// Puts the items that the order names into that order. An item that it does not name stays behind the item that it
/// stood behind.
fn reorder(
    target: &mut Map<String, Value>,
    field: &str,
    order: &Value,
    schema: Option<&Schema>,
) -> Result<(), PatchError> {
    let order =
        order.as_array().ok_or_else(|| PatchError::Malformed(format!("{ORDER}{field} must be a list")))?;
    let Some(Value::Array(items)) = target.get_mut(field) else { return Ok(()) };
    let key = schema.and_then(|schema| schema.at_field().merge_key.as_deref());
    let same = |item: &Value, wanted: &Value| match key {
        Some(key) => item.get(key).is_some() && item.get(key) == wanted.get(key),
        None => item == wanted,
    };
    let place = |item: &Value| order.iter().position(|wanted| same(item, wanted));
    let mut groups: Vec<(usize, Vec<Value>)> = Vec::new();
    let mut leading = Vec::new();
    for item in std::mem::take(items) {
        match (place(&item), groups.last_mut()) {
            (Some(at), _) => groups.push((at, vec![item])),
            (None, Some((_, group))) => group.push(item),
            (None, None) => leading.push(item),
        }
    }
    groups.sort_by_key(|(at, _)| *at);
    items.extend(leading);
    items.extend(groups.into_iter().flat_map(|(_, group)| group));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin;

    fn pod(patch: Value) -> Value {
        let live =
            json!({"spec": {"containers": [{"name": "a", "image": "one"}, {"name": "b", "image": "two"}]}});
        strategic(live, &patch, builtin::schema("", "v1", "Pod").as_ref()).unwrap()
    }

    #[test]
    fn containers_are_merged_by_name() {
        let patched = pod(
            json!({"spec": {"containers": [{"name": "b", "image": "three"}, {"name": "c", "image": "four"}]}}),
        );
        let images: Vec<&str> = patched["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["image"].as_str().unwrap())
            .collect();
        assert_eq!(images, ["one", "three", "four"]);
        // What is new comes before what it is not compared with.
        let patched = pod(json!({"spec": {"containers": [{"name": "new", "image": "n"}]}}));
        assert_eq!(patched["spec"]["containers"][0]["name"], "new");
    }

    #[test]
    fn an_item_is_deleted_by_directive() {
        let patched = pod(json!({"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}));
        assert_eq!(patched["spec"]["containers"], json!([{"name": "b", "image": "two"}]));
    }

    #[test]
    fn a_list_is_replaced_by_directive() {
        let patched =
            pod(json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z", "image": "i"}]}}));
        assert_eq!(patched["spec"]["containers"], json!([{"name": "z", "image": "i"}]));
    }

    #[test]
    fn order_is_set_by_directive() {
        let patched = pod(json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}));
        assert_eq!(patched["spec"]["containers"][0]["name"], "b");
    }

    #[test]
    fn finalizers_merge_as_a_set() {
        let schema = builtin::schema("", "v1", "ConfigMap");
        let live = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}});
        let patched = strategic(live, &patch, schema.as_ref()).unwrap();
        assert_eq!(patched["metadata"]["finalizers"], json!(["c", "b"]));
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let schema = builtin::schema("", "v1", "Pod");
        let error = strategic(json!({}), &json!({"spec": {"containers": [{"image": "x"}]}}), schema.as_ref())
            .unwrap_err();
        assert!(error.to_string().contains("does not contain declared merge key: name"), "{error}");
    }
}
