//! Putting an applied configuration over a live object, and taking out what is no longer applied.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::PathElement;
use super::set::{Container, FieldSet, item_key};
use crate::schema::{ListType, Schema};

/// The live object with the applied fields over it. Lists of the type `map` and `set` are merged by item: applied items
/// in their order, live items where they stood among them.
pub fn merge(live: &Value, applied: &Value, schema: Option<&Schema>) -> Value {
    let node = schema.map(Schema::node);
    match (live, applied) {
        (Value::Object(old), Value::Object(new)) if !node.is_some_and(|node| node.atomic_map) => {
            let mut merged = old.clone();
            for (name, value) in new {
                let below = schema.and_then(|schema| schema.field(name));
                let value = match merged.get(name) {
                    Some(old) => merge(old, value, below),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) => match node.map(|node| &node.list) {
            Some(ListType::Set) => {
                let key = |item: &Value| PathElement::Value(item.clone());
                Value::Array(merge_items(old, new, key, |_, new| new.clone()))
            }
            Some(ListType::Map(keys)) => {
                let items = node.and_then(|node| node.items.as_ref());
                Value::Array(merge_items(
                    old,
                    new,
                    |item| item_key(item, keys, items),
                    |old, new| merge(old, new, items),
                ))
            }
            Some(ListType::Atomic) | None => applied.clone(),
        },
        _ => applied.clone(),
    }
}

fn merge_items(
    old: &[Value],
    new: &[Value],
    key: impl Fn(&Value) -> PathElement,
    join: impl Fn(&Value, &Value) -> Value,
) -> Vec<Value> {
    let old_keys: Vec<PathElement> = old.iter().map(&key).collect();
    let new_keys: BTreeMap<PathElement, usize> =
        new.iter().enumerate().map(|(at, item)| (key(item), at)).collect();
    let positions: BTreeMap<&PathElement, usize> =
        old_keys.iter().enumerate().map(|(at, key)| (key, at)).collect();
    let mut merged = Vec::with_capacity(old.len() + new.len());
    let mut taken = 0;
    for item in new {
        let key = key(item);
        let Some(&at) = positions.get(&key) else {
            merged.push(item.clone());
            continue;
        };
        // Live items that stood before this one, and are not applied, stay before it.
        while taken < at {
            if !new_keys.contains_key(&old_keys[taken]) {
                merged.push(old[taken].clone());
            }
            taken += 1;
        }
        merged.push(join(&old[at], item));
        taken = taken.max(at + 1);
    }
    merged.extend(
        old.iter()
            .zip(&old_keys)
            .skip(taken)
            .filter(|(_, key)| !new_keys.contains_key(key))
            .map(|(item, _)| item.clone()),
    );
    merged
}

/// Takes out of `value` the fields that `dropped` names and `owned` does not: a field goes when it is in `dropped` and
/// neither it nor anything below it has an owner left.
pub(super) fn take_out(value: &mut Value, dropped: &FieldSet, owned: &FieldSet, schema: Option<&Schema>) {
    let node = schema.map(Schema::node);
    if Container::of(value, node).is_leaf() {
        return;
    }
    let empty = FieldSet::default();
    let goes = |element: &PathElement| -> bool {
        let Some((member, _)) = dropped.entry(element) else { return false };
        member && owned.entry(element).is_none_or(|(owned, below)| !owned && below.is_empty())
    };
    match value {
        Value::Object(object) => {
            let names: Vec<String> = object.keys().cloned().collect();
            for name in names {
                let element = PathElement::Field(name.as_str().into());
                if goes(&element) {
                    object.remove(&name);
                    continue;
                }
                let Some((_, below)) = dropped.entry(&element) else { continue };
                let owned_below = owned.entry(&element).map_or(&empty, |(_, below)| below);
                let Some(child) = object.get_mut(&name) else { continue };
                let was_filled = !is_empty(child);
                take_out(child, below, owned_below, schema.and_then(|schema| schema.field(&name)));
                let owned_itself =
                    owned.entry(&element).is_some_and(|(member, below)| member || !below.is_empty());
                if was_filled && is_empty(child) && !owned_itself {
                    object.remove(&name);
                }
            }
        }
        Value::Array(items) => {
            let Some(node) = node else { return };
            let key = |item: &Value| match &node.list {
                ListType::Map(keys) => item_key(item, keys, node.items.as_ref()),
                ListType::Set | ListType::Atomic => PathElement::Value(item.clone()),
            };
            items.retain(|item| !goes(&key(item)));
            for item in items {
                let element = key(item);
                let Some((_, below)) = dropped.entry(&element) else { continue };
                let owned_below = owned.entry(&element).map_or(&empty, |(_, below)| below);
                take_out(item, below, owned_below, node.items.as_ref());
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
