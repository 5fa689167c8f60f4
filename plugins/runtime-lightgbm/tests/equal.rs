//! The answers of models that LightGBM made, beside its own; see `fixtures.py`.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use purlin_tabular::{Table, Values};
use runtime_lightgbm::Booster;
use serde_json::Value;

/// How far an answer may be from the library's, relative to it. Sums of leaves are equal; `exp` and `log` differ in their
/// last bit between mathematical libraries.
const TOLERANCE: f64 = 1e-14;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Null => vec![f64::NAN],
        number => vec![number.as_f64().expect("a number")],
    }
}

fn predict(booster: &Booster, rows: &Value) -> Vec<f64> {
    let answer = booster.predict(&Table::new(booster.columns().count, numbers(rows)));
    match answer.values {
        Values::Doubles(found) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_are_those_of_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut checked = 0;
    for entry in fs::read_dir(folder).expect("fixtures") {
        let name = entry.expect("a fixture").file_name().into_string().expect("a name");
        let Some(name) = name.strip_suffix(".txt") else { continue };
        let booster =
            Booster::read(&fixture(&format!("{name}.txt"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let case: Value = serde_json::from_slice(&fixture(&format!("{name}.json"))).expect("a case");
        let (found, expected) = (predict(&booster, &case["rows"]), numbers(&case["answers"]));
        assert_eq!(found.len(), expected.len(), "{name}");
        let transformed = ["binary", "multi", "cross", "poisson", "gamma", "tweedie"]
            .iter()
            .any(|kind| name.contains(kind));
        let tolerance = if transformed { TOLERANCE } else { 0.0 };
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = (found - expected).abs();
            assert!(difference <= tolerance * expected.abs(), "{name}, {index}: {found} is not {expected}");
        }
        checked += 1;
    }
    assert!(checked >= 20, "only {checked} fixtures were found");
}

#[test]
fn what_is_no_model_is_named() {
    let model = String::from_utf8(fixture("binary.txt")).expect("text");
    let cases = [
        ("not a model".to_owned(), "save_model"),
        (model.replace("end of trees", ""), "cut off"),
        (model.replacen("objective=binary", "objective=unknown", 1), "unknown"),
        (model.replacen("num_leaves=5", "num_leaves=6", 1), "leaf_value"),
        (model.replacen("left_child=", "left_child=x ", 1), "left_child"),
        (model.replacen("max_feature_idx=7", "max_feature_idx=0", 1), "feature"),
        (model.replacen("num_tree_per_iteration=1", "num_tree_per_iteration=3", 1), "trees"),
    ];
    for (text, says) in cases {
        let error = Booster::read(text.as_bytes()).err().expect(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A model in which a few bytes were changed is served or refused.
    #[test]
    fn damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), end in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let mut content = fixture("categories.txt");
        for (index, byte) in changes {
            let index = index.index(content.len());
            content[index] = byte;
        }
        if cut {
            content.truncate(end.index(content.len()));
        }
        if let Ok(booster) = Booster::read(&content) {
            let columns = booster.columns().count;
            booster.predict(&Table::new(columns, vec![1.5; columns * 2]));
        }
    }

    #[test]
    fn any_text_is_survived(text in "tree\n(([a-z_]{1,9}|num_leaves|left_child|Tree)=[-0-9. ]{0,9}\n){0,9}end of trees\n") {
        let _ = Booster::read(text.as_bytes());
    }
}
