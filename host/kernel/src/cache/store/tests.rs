use super::{Selection, Store};
use crate::cache::CachedObject;
use crate::key::ObjectKey;
use crate::selector::LabelSelector;
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

fn object(namespace: &str, name: &str, app: &str, owner: Option<&str>) -> Arc<CachedObject> {
    let mut object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": app},
                     "managedFields": [{"manager": "x"}]},
    });
    if let Some(uid) = owner {
        object["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Owner", "name": "o", "uid": uid, "controller": true}]);
    }
    Arc::new(CachedObject::new(serde_json::from_value(object).unwrap()))
}

fn selection(namespace: Option<&str>, names: &[&str], labels: &str) -> Selection {
    Selection {
        namespace: namespace.map(str::to_owned),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        labels: LabelSelector::parse(labels).unwrap(),
    }
}

#[test]
fn managed_fields_are_not_kept() {
    assert!(object("a", "b", "c", None).object().metadata.managed_fields.is_none());
}

#[test]
fn an_object_that_changes_hands_is_found_under_its_new_controller_only() {
    let mut store = Store::default();
    store.insert(object("ns", "a", "x", Some("one")));
    store.insert(object("ns", "a", "x", Some("two")));
    assert!(store.controlled_by("one").is_empty());
    assert_eq!(store.controlled_by("two").len(), 1);
    store.remove(&ObjectKey::new("ns", "a"));
    assert!(store.controlled_by("two").is_empty());
}

proptest! {
    /// However objects came and went, and with or without an index, a selection picks what a scan would.
    #[test]
    fn selecting_is_scanning(
        changes in proptest::collection::vec((0..3_u8, 0..4_u8, 0..3_u8, any::<bool>()), 0..40),
        indexed_at in 0..40_usize,
        names in proptest::collection::vec(0..4_u8, 0..3),
        namespace in proptest::option::of(0..3_u8),
        label in proptest::option::of(0..3_u8),
    ) {
        let mut store = Store::default();
        for (at, (namespace, name, app, keep)) in changes.into_iter().enumerate() {
            if at == indexed_at {
                store.index_label("app");
            }
            let object = object(&namespace.to_string(), &name.to_string(), &app.to_string(), None);
            if keep { store.insert(object); } else { store.remove(object.key()); }
        }
        let names: Vec<String> = names.iter().map(u8::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let labels = label.map(|value| format!("app={value}")).unwrap_or_default();
        let selection = selection(namespace.map(|n| n.to_string()).as_deref(), &names, &labels);
        let found: Vec<_> = store.select(&selection).iter().map(|object| object.key().clone()).collect();
        let scanned: Vec<_> = store.all().iter().filter(|object| selection.matches(object.object()))
            .map(|object| object.key().clone()).collect();
        prop_assert_eq!(found, scanned);
    }
}
