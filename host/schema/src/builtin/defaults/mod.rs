//! What the API server fills into built-in objects.
//!
//! [`fill`] runs on every write and is idempotent; [`prepare`] runs once, when an object is created and has its name and
//! uid, and sets what belongs to the server: initial status, generated labels, protection finalizers.

mod cluster;
mod pod;
mod workload;

use serde_json::{Map, Value, json};

/// Fills in what an object leaves to the server.
pub fn fill(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => pod::fill(object),
        ("", "PodTemplate") => pod::fill_template(&mut object["template"]),
        ("", "ReplicationController") | ("apps", _) | ("batch", _) => workload::fill(kind, object),
        _ => cluster::fill(group, kind, object),
    }
}

/// Sets what a new object gets from the server.
pub fn prepare(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => pod::prepare(object),
        ("rbac.authorization.k8s.io", _) => cluster::settle_rules(object),
        ("", "ReplicationController") | ("apps", _) | ("batch", _) => workload::prepare(kind, object),
        _ => cluster::prepare(group, kind, object),
    }
}

/// Keeps of the stored object what the server once added to it and an update may leave out.
pub fn carry(group: &str, kind: &str, object: &mut Value, old: &Value) {
    match (group, kind) {
        ("", "Pod") => pod::carry(object, old),
        ("rbac.authorization.k8s.io", _) => cluster::settle_rules(object),
        _ => {}
    }
}

/// Sets a field that is missing, null or an empty text.
fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut()
        && is_unset(map.get(key))
    {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets fields that are missing.
fn set_all<const N: usize>(object: &mut Value, fields: [(&str, Value); N]) {
    for (key, value) in fields {
        set(object, key, value);
    }
}

fn is_unset(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_null() || value.as_str() == Some(""))
}

/// The object below a key; it is made where it is missing.
fn below<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    set(object, key, json!({}));
    &mut object[key]
}

/// The object below a key, where there is one.
fn inside<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    object.get_mut(key).filter(|value| value.is_object())
}

/// The items of the list below a key.
fn each<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter(|item| item.is_object())
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Adds a text to a list of texts unless it is there.
fn add_text(object: &mut Value, key: &str, value: &str) {
    set(object, key, json!([]));
    if let Some(list) = object[key].as_array_mut()
        && !list.iter().any(|item| item == value)
    {
        list.push(value.into());
    }
}

/// Moves `stringData` into `data`, as the server does when it reads a Secret.
fn merge_string_data(secret: &mut Value, encode: impl Fn(&str) -> String) {
    let Some(Value::Object(given)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData"))
    else {
        return;
    };
    let data = below(secret, "data");
    if let Some(data) = data.as_object_mut() {
        data.extend(
            given
                .into_iter()
                .filter_map(|(key, value)| Some((key, encode(value.as_str()?).into())))
                .collect::<Map<_, _>>(),
        );
    }
}
