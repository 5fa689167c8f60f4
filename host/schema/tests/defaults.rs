//! What is filled in, against what a real kube-apiserver filled in (`tests/real/defaults.json`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use purlin_schema::builtin::defaults;
use serde_json::{Value, json};

/// What other parts of a server set: identity, counters, and states that depend on the time or on other objects.
fn comparable(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in ["uid", "creationTimestamp", "generation", "namespace", "managedFields"] {
            metadata.remove(key);
        }
    }
    match object["kind"].as_str() {
        // The node's taint comes from an admission plugin, its empty facts from Go's structs.
        Some("Node") => json!({}),
        // The definition's status is the server's own work.
        Some("CustomResourceDefinition") => {
            object.as_object_mut().unwrap().remove("status");
            object
        }
        Some("PersistentVolume") => {
            object["status"].as_object_mut().unwrap().remove("lastPhaseTransitionTime");
            object
        }
        _ => object,
    }
}

#[test]
fn objects_are_filled_as_the_real_server_fills_them() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("real/defaults.json")).unwrap();
    assert!(cases.len() > 30);
    for case in cases {
        let (mut ours, theirs) = (case["given"].clone(), case["made"].clone());
        let api_version = ours["apiVersion"].as_str().unwrap().to_owned();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = ours["kind"].as_str().unwrap().to_owned();
        ours["metadata"]["uid"] = theirs["metadata"]["uid"].clone();
        defaults::fill(group, &kind, &mut ours);
        defaults::prepare(group, &kind, &mut ours);
        assert_eq!(comparable(ours.clone()), comparable(theirs), "{kind}");
        let mut again = ours.clone();
        defaults::fill(group, &kind, &mut again);
        assert_eq!(again, ours, "{kind} is filled once");
    }
}
