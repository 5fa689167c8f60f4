//! What a dialect's answer means for the cluster: which children to apply, which to delete, and what is not allowed.
//!
//! Pure. The answer was made by outside code; nothing in it is trusted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use purlin_sandbox::CallError;
use serde_json::{Value, json};

use crate::cache::CachedObject;
use crate::digest::json_hash;
use crate::key::{Gvk, ObjectKey};

/// A kind that a dialect may emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Emittable {
    /// Whether its objects have a namespace.
    pub namespaced: bool,
    /// Whether the dialect owns the kind, and so may write its status.
    pub owned: bool,
}

/// The parent of a sync.
#[derive(Clone, Debug)]
pub(super) struct Parent<'a> {
    /// Its kind.
    pub gvk: &'a Gvk,
    /// Its namespace and name.
    pub key: &'a ObjectKey,
    /// Its UID.
    pub uid: &'a str,
}

/// Names a child.
pub(super) type ChildKey = (Gvk, ObjectKey);

/// A child that should exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desired {
    /// What it is.
    pub key: ChildKey,
    /// The object to apply, complete with owner.
    pub object: Value,
    /// Its status, where the dialect may write it and did.
    pub status: Option<Value>,
    /// Hash of `object`.
    pub hash: u64,
}

/// What a child was when it was last applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// Hash of what was applied.
    pub desired: u64,
    /// Hash of what the server made of it.
    pub observed: u64,
}

/// The children of an answer without their objects: enough to see that there is nothing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outline(Vec<(ChildKey, u64, Option<Value>)>);

impl Outline {
    /// Leaves the objects out.
    pub(super) fn of(desired: &[Desired]) -> Self {
        Outline(desired.iter().map(|child| (child.key.clone(), child.hash, child.status.clone())).collect())
    }

    /// Whether there is no child.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether [`plan`] would have nothing to do for these children.
    pub(super) fn holds(
        &self,
        observed: &BTreeMap<ChildKey, Arc<CachedObject>>,
        applied: &HashMap<ChildKey, Applied>,
    ) -> bool {
        let wanted: BTreeSet<_> = self.0.iter().map(|(key, _, _)| key).collect();
        observed.iter().all(|(key, object)| wanted.contains(key) || object.is_deleting())
            && self.0.iter().all(|(key, hash, status)| {
                let Some(present) = observed.get(key) else { return false };
                let same_status = || {
                    status
                        .as_ref()
                        .is_none_or(|status| status_patch(&present.object().data["status"], status).is_none())
                };
                is_as_applied(present, applied.get(key), *hash) && same_status()
            })
    }
}

/// What has to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Children to apply.
    pub apply: Vec<Desired>,
    /// Children whose status has to be written, with the status.
    pub statuses: Vec<(ChildKey, Value)>,
    /// Children to delete.
    pub delete: Vec<Arc<CachedObject>>,
}

/// Checks a dialect's children and gives them their owner and namespace.
///
/// # Errors
/// A child is malformed, of a kind that the manifest does not name, or where its parent cannot own it.
pub(super) fn desired(
    parent: &Parent<'_>,
    children: Vec<Value>,
    kinds: &HashMap<Gvk, Emittable>,
) -> Result<Vec<Desired>, CallError> {
    let mut seen = BTreeSet::new();
    let mut desired = Vec::with_capacity(children.len());
    for child in children {
        let child = one(parent, child, kinds)?;
        if !seen.insert(child.key.clone()) {
            return Err(CallError::Malformed(format!(
                "the child {} {} is given twice",
                child.key.0, child.key.1
            )));
        }
        desired.push(child);
    }
    Ok(desired)
}

fn one(parent: &Parent<'_>, mut child: Value, kinds: &HashMap<Gvk, Emittable>) -> Result<Desired, CallError> {
    let malformed = |why: String| Err(CallError::Malformed(why));
    let Some(gvk) = child.as_object().and_then(Gvk::of_json) else {
        return malformed("a child has no apiVersion and kind".to_owned());
    };
    let Some(kind) = kinds.get(&gvk) else {
        return malformed(format!("a child is of {gvk}, which the manifest does not list as a child"));
    };
    let Some(name) = child["metadata"]["name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
    else {
        return malformed(format!("a child of {gvk} has no metadata.name"));
    };
    let asked = child["metadata"]["namespace"].as_str().filter(|text| !text.is_empty());
    let namespace = match (kind.namespaced, parent.key.namespace()) {
        (true, Some(namespace)) => {
            if let Some(other) = asked.filter(|asked| *asked != namespace) {
                return malformed(format!(
                    "the child {gvk} {name} is in namespace {other}, and its parent in {namespace}"
                ));
            }
            namespace.to_owned()
        }
        (true, None) => match asked {
            Some(namespace) => namespace.to_owned(),
            None => {
                return malformed(format!(
                    "the child {gvk} {name} of a cluster-scoped parent needs a namespace"
                ));
            }
        },
        (false, Some(_)) => {
            return malformed(format!(
                "a namespaced parent cannot own {gvk} {name}, which is cluster-scoped"
            ));
        }
        (false, None) => String::new(),
    };
    let status = child.as_object_mut().and_then(|fields| fields.remove("status")).filter(|_| kind.owned);
    let Some(metadata) = child["metadata"].as_object_mut() else {
        return malformed(format!("the child {gvk} {name} has no metadata"));
    };
    // What the server decides is not the dialect's to say.
    for field in
        ["resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "deletionTimestamp"]
    {
        metadata.remove(field);
    }
    if namespace.is_empty() {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let owner = json!([{
        "apiVersion": parent.gvk.api_version(), "kind": parent.gvk.kind, "name": parent.key.name,
        "uid": parent.uid, "controller": true, "blockOwnerDeletion": true,
    }]);
    metadata.insert("ownerReferences".to_owned(), owner);
    let hash = json_hash(&child);
    Ok(Desired { key: (gvk, ObjectKey::new(namespace, name)), object: child, status, hash })
}

/// Compares what should be with what is. `applied` is what this process remembers; without it a child is applied
/// again, which the server knows for no change.
pub(super) fn plan(
    desired: Vec<Desired>,
    observed: &BTreeMap<ChildKey, Arc<CachedObject>>,
    applied: &HashMap<ChildKey, Applied>,
) -> Plan {
    let mut plan = Plan::default();
    let wanted: BTreeSet<_> = desired.iter().map(|child| child.key.clone()).collect();
    for (key, object) in observed {
        if !wanted.contains(key) && !object.is_deleting() {
            plan.delete.push(object.clone());
        }
    }
    for mut child in desired {
        let present = observed.get(&child.key);
        if let (Some(status), Some(present)) = (child.status.take(), present) {
            if status_patch(&present.object().data["status"], &status).is_some() {
                plan.statuses.push((child.key.clone(), status.clone()));
            }
            child.status = Some(status);
        }
        let unchanged =
            present.is_some_and(|present| is_as_applied(present, applied.get(&child.key), child.hash));
        if !unchanged {
            plan.apply.push(child);
        }
    }
    plan
}

/// Whether an apply of what has this hash would change nothing.
fn is_as_applied(present: &CachedObject, applied: Option<&Applied>, hash: u64) -> bool {
    applied
        .is_some_and(|applied| applied.desired == hash && applied.observed == settled_hash(&present.json()))
}

/// Hash of the part of an object that an apply can change: without status and what the server counts.
pub(super) fn settled_hash(object: &Value) -> u64 {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["resourceVersion", "managedFields", "generation"] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        if metadata.get("annotations").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            metadata.remove("annotations");
        }
    }
    json_hash(&object)
}

/// The merge patch that makes `from` into `to`, where they differ. A null in `to` is as if it were not there.
pub(super) fn status_patch(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            let mut patch = serde_json::Map::new();
            for (field, value) in from {
                if !value.is_null() && to.get(field).is_none_or(Value::is_null) {
                    patch.insert(field.clone(), Value::Null);
                }
            }
            for (field, value) in to.iter().filter(|(_, value)| !value.is_null()) {
                if let Some(change) = status_patch(from.get(field).unwrap_or(&Value::Null), value) {
                    patch.insert(field.clone(), change);
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (Value::Null, Value::Object(to)) => {
            let fields = to.iter().filter(|(_, value)| !value.is_null());
            let whole =
                fields.filter_map(|(field, value)| Some((field.clone(), status_patch(&Value::Null, value)?)));
            Some(Value::Object(whole.collect()))
        }
        (from, to) if from == to => None,
        (_, to) => Some(to.clone()),
    }
}

#[cfg(test)]
mod tests;
