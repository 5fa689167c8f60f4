//! Putting an applied configuration over a live object, and taking out what is no longer applied.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::PathElement;
use super::set::{Container, FieldSet, item_key};
use crate::schema::{ListType, Schema};

/// The live object with the applied fields over it. Lists of the type `map` and `set` are merged by item, in an
/// order that keeps the applied items' own (structured-merge-diff v6 does it so).
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

/// Goes through both lists at once. Where the two agree on what comes next, that is next; else a live item that is not
/// applied comes before an applied one. Live items that are applied, but in another place, wait for that place.
fn merge_items(
    old: &[Value],
    new: &[Value],
    key: impl Fn(&Value) -> PathElement,
    join: impl Fn(&Value, &Value) -> Value,
) -> Vec<Value> {
    let old_keys: Vec<PathElement> = old.iter().map(&key).collect();
    let new_keys: Vec<PathElement> = new.iter().map(&key).collect();
    let applied: BTreeSet<&PathElement> = new_keys.iter().collect();
    let places: BTreeMap<&PathElement, usize> =
        old_keys.iter().enumerate().map(|(at, key)| (key, at)).collect();
    let mut shared = new_keys.iter().filter(|key| places.contains_key(key));
    let mut next = shared.next();
    let mut done = BTreeSet::new();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        if let Some(live) = old_keys.get(left) {
            let agreed = new_keys.get(right) == Some(live);
            let waits = right < new.len() && applied.contains(live) && next.is_some_and(|next| next != live);
            if !agreed && waits {
                left += 1;
                continue;
            }
            if !applied.contains(live) {
                merged.push(old[left].clone());
                left += 1;
                continue;
            }
            if agreed || done.contains(live) {
                left += 1;
            }
        }
        let Some(wanted) = new_keys.get(right) else { continue };
        done.insert(wanted);
        merged.push(match places.get(wanted) {
            Some(at) => join(&old[*at], &new[right]),
            None => new[right].clone(),
        });
        right += 1;
        if next == Some(wanted) {
            next = shared.next();
        }
    }
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
