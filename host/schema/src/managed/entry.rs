//! `metadata.managedFields`: one entry a manager, operation, version and subresource.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::FieldSet;

/// The most entries of updating managers that an object keeps; the oldest beyond them become one.
const MOST_UPDATERS: usize = 10;

/// Stands for the updaters that were too many.
const ANCIENT: &str = "ancient-changes";

/// What one manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) applies: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    pub(super) fn is_of(&self, manager: &str, applies: bool, api_version: &str, subresource: &str) -> bool {
        self.manager == manager
            && self.applies == applies
            && self.subresource == subresource
            && (self.api_version == api_version || applies)
    }
}

/// The entries of an object. One that cannot be read is left out, as if its manager owned nothing.
pub(super) fn read(object: &Value) -> Vec<Entry> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Some(Entry {
                manager: text("manager"),
                applies: entry.get("operation")?.as_str()? == "Apply",
                api_version: text("apiVersion"),
                subresource: text("subresource"),
                time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
                fields: FieldSet::parse(entry.get("fieldsV1").unwrap_or(&Value::Null)).ok()?,
            })
        })
        .collect()
}

/// Writes the entries into an object, in the order in which an API server keeps them.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| (!entry.applies, entry.time.clone().unwrap_or_default());
        key(a)
            .cmp(&key(b))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    fold_oldest(&mut entries);
    let printed: Vec<Value> = entries.iter().map(print).collect();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if printed.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(printed));
    }
}

/// The entries are sorted with the oldest updaters first.
fn fold_oldest(entries: &mut Vec<Entry>) {
    let updaters = entries.iter().filter(|entry| !entry.applies).count();
    if updaters <= MOST_UPDATERS {
        return;
    }
    let first = entries.len() - updaters;
    let surplus = updaters - MOST_UPDATERS + 1;
    let mut folded: Vec<Entry> = Vec::new();
    for old in entries.drain(first..first + surplus) {
        match folded.iter_mut().find(|entry| entry.api_version == old.api_version) {
            Some(entry) => {
                entry.fields = entry.fields.union(&old.fields);
                entry.time = old.time;
            }
            None => folded.push(Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..old }),
        }
    }
    entries.splice(first..first, folded);
}

fn print(entry: &Entry) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(entry.api_version));
    object.insert("fieldsType".to_owned(), json!("FieldsV1"));
    object.insert("fieldsV1".to_owned(), entry.fields.print());
    object.insert("manager".to_owned(), json!(entry.manager));
    object.insert("operation".to_owned(), json!(if entry.applies { "Apply" } else { "Update" }));
    if !entry.subresource.is_empty() {
        object.insert("subresource".to_owned(), json!(entry.subresource));
    }
    if let Some(time) = &entry.time {
        object.insert("time".to_owned(), json!(time));
    }
    Value::Object(object)
}

/// A time as Kubernetes writes it: RFC 3339 in UTC, whole seconds.
pub(super) fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
