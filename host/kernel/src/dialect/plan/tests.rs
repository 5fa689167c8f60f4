use super::{Applied, Emittable, Outline, Parent, desired, plan, settled_hash, status_patch};
use crate::cache::CachedObject;
use crate::key::{Gvk, ObjectKey};
use proptest::prelude::*;
use purlin_sandbox::CallError;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

fn kinds() -> HashMap<Gvk, Emittable> {
    HashMap::from([
        (Gvk::new("v1", "ConfigMap"), Emittable { namespaced: true, owned: false }),
        (Gvk::new("v1", "Namespace"), Emittable { namespaced: false, owned: false }),
        (Gvk::new("g/v1", "Own"), Emittable { namespaced: true, owned: true }),
    ])
}

fn check(namespace: &str, children: Vec<Value>) -> Result<Vec<super::Desired>, CallError> {
    let (gvk, key) = (Gvk::new("g/v1", "Parent"), ObjectKey::new(namespace, "p"));
    desired(&Parent { gvk: &gvk, key: &key, uid: "u" }, children, &kinds())
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "uid": "x"}})
}

#[test]
fn a_child_gets_its_parent_and_its_parent_s_namespace() {
    let child = &check("ns", vec![map("a")]).unwrap()[0].object;
    assert_eq!(child["metadata"]["namespace"], "ns");
    assert_eq!(child["metadata"]["ownerReferences"][0]["controller"], true);
    assert!(child["metadata"].get("uid").is_none());
}

#[test]
fn what_the_manifest_does_not_allow_is_refused() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    let elsewhere =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "elsewhere"}});
    let homeless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    for (parent, children) in [
        ("ns", vec![secret]),
        ("ns", vec![namespace]),
        ("ns", vec![elsewhere]),
        ("ns", vec![map("a"), map("a")]),
        ("ns", vec![json!({"apiVersion": "v1", "kind": "ConfigMap"})]),
        ("ns", vec![json!([])]),
        ("", vec![homeless]),
    ] {
        assert!(matches!(check(parent, children.clone()), Err(CallError::Malformed(_))), "{children:?}");
    }
}

#[test]
fn only_owned_kinds_have_a_status_to_write() {
    let with_status = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "status": {"a": 1}});
    assert!(check("ns", vec![with_status("v1", "ConfigMap")]).unwrap()[0].status.is_none());
    let own = &check("ns", vec![with_status("g/v1", "Own")]).unwrap()[0];
    assert_eq!(own.status, Some(json!({"a": 1})));
    assert!(own.object.get("status").is_none());
}

#[test]
fn what_is_as_it_was_applied_is_not_applied_again() {
    let child = check("ns", vec![map("a")]).unwrap();
    let cached = |data: Value| {
        let mut object = child[0].object.clone();
        object["metadata"]["resourceVersion"] = json!("7");
        object["data"] = data;
        Arc::new(CachedObject::new(serde_json::from_value(object).unwrap()))
    };
    let present = cached(json!({"x": "1"}));
    let applied = Applied { desired: child[0].hash, observed: settled_hash(&present.json()) };
    let memory = HashMap::from([(child[0].key.clone(), applied)]);
    let observed = |object| BTreeMap::from([(child[0].key.clone(), object)]);
    assert!(plan(child.clone(), &observed(present.clone()), &memory).apply.is_empty());
    assert_eq!(
        plan(child.clone(), &observed(cached(json!({"x": "2"}))), &memory).apply.len(),
        1,
        "it was changed"
    );
    assert_eq!(plan(child.clone(), &BTreeMap::new(), &memory).apply.len(), 1, "it is gone");
    assert_eq!(
        plan(child.clone(), &observed(present.clone()), &HashMap::new()).apply.len(),
        1,
        "nothing remembered"
    );
    assert_eq!(plan(vec![], &observed(present.clone()), &memory).delete.len(), 1, "an orphan");

    let outline = Outline::of(&child);
    assert!(outline.holds(&observed(present.clone()), &memory));
    assert!(!outline.holds(&observed(cached(json!({"x": "2"}))), &memory), "it was changed");
    assert!(!outline.holds(&BTreeMap::new(), &memory), "it is gone");
    assert!(!outline.holds(&observed(present.clone()), &HashMap::new()), "nothing remembered");
    assert!(!Outline::of(&[]).holds(&observed(present), &memory), "an orphan");
}

#[test]
fn an_outline_holds_where_a_plan_is_empty() {
    let own = |status: Value| json!({"apiVersion": "g/v1", "kind": "Own", "metadata": {"name": "a"}, "status": status});
    for (wanted, found) in
        [(json!({"a": 1}), json!({"a": 1})), (json!({"a": 1}), json!({"a": 2})), (json!({}), json!(null))]
    {
        let child = check("ns", vec![own(wanted)]).unwrap();
        let mut object = child[0].object.clone();
        object["status"] = found;
        let present = Arc::new(CachedObject::new(serde_json::from_value(object).unwrap()));
        let applied = Applied { desired: child[0].hash, observed: settled_hash(&present.json()) };
        let memory = HashMap::from([(child[0].key.clone(), applied)]);
        let observed = BTreeMap::from([(child[0].key.clone(), present)]);
        let holds = Outline::of(&child).holds(&observed, &memory);
        let plan = plan(child, &observed, &memory);
        let nothing = plan.apply.is_empty() && plan.statuses.is_empty() && plan.delete.is_empty();
        assert_eq!(holds, nothing, "{observed:?}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// RFC 7396, as a server does it.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (field, value) in patch {
        if value.is_null() {
            fields.remove(field);
        } else {
            merge(fields.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

proptest! {
    #[test]
    fn a_status_patch_makes_one_status_the_other(from in json_value(), to in json_value()) {
        match status_patch(&from, &to) {
            Some(patch) => {
                let mut patched = from.clone();
                merge(&mut patched, &patch);
                prop_assert_eq!(&patched, &to);
                prop_assert_eq!(status_patch(&patched, &to), None);
            }
            None => prop_assert_eq!(from, to),
        }
    }

    #[test]
    fn any_children_are_planned_or_refused(children in proptest::collection::vec(json_value(), 0..4)) {
        let _ = check("ns", children);
    }
}
