//! What is refused beyond types, against what a real kube-apiserver refused (`tests/real/refused.json`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use purlin_schema::builtin::{defaults, validation};
use serde_json::Value;

#[test]
fn objects_are_refused_in_the_words_of_the_real_server() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("real/refused.json")).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let mut new = case["new"].clone();
        let api_version = new["apiVersion"].as_str().unwrap().to_owned();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = new["kind"].as_str().unwrap().to_owned();
        defaults::fill(group, &kind, &mut new);
        // The server visits labels and keys in no order of its own.
        let ours: BTreeSet<String> = validation::validate(group, &kind, &new, case.get("old"))
            .iter()
            .map(ToString::to_string)
            .collect();
        let theirs: BTreeSet<String> = case["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ours, theirs, "{kind} {}", case["new"]);
    }
}
