//! The answers of models that XGBoost made, beside its own; see `fixtures.py`.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use purlin_tabular::{Table, Values};
use runtime_xgboost::Booster;
use serde_json::Value;

/// How far an answer may be from the library's, relative to it, where `exp` or `log` have a part in it: they differ in their
/// last bit between mathematical libraries. Sums of leaves are equal.
const TOLERANCE: f32 = 5e-7;

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

#[test]
fn answers_are_those_of_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (mut checked, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder).expect("fixtures") {
        let file = entry.expect("a fixture").file_name().into_string().expect("a name");
        let (name, ending) = file.rsplit_once('.').expect("an ending");
        if ending == "answers" {
            continue;
        }
        let booster = Booster::read(&fixture(&file)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let case: Value = serde_json::from_slice(&fixture(&format!("{name}.answers"))).expect("a case");
        let answer = booster.predict(Table::new(booster.columns().count, numbers(&case["rows"])));
        let shape = numbers(&case["shape"]);
        assert_eq!(answer.width.map(|width| width as f64), shape.get(1).copied(), "{name}");
        let Values::Singles(found) = answer.values else { panic!("{name}: {:?}", answer.values) };
        let expected = numbers(&case["answers"]);
        assert_eq!(found.len(), expected.len(), "{name}");
        let exact = !["log", "soft", "miss", "base", "gamma", "tweedie", "poisson", "cox", "aft", "classes"]
            .iter()
            .any(|part| name.contains(part));
        let tolerance = if exact { 0.0 } else { TOLERANCE };
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let expected = *expected as f32;
            if (found - expected).abs() > tolerance * expected.abs() {
                wrong.push(format!("{name}, {index}: {found} is not {expected}"));
                break;
            }
        }
        checked += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked >= 28, "only {checked} fixtures were found");
}

#[test]
fn what_is_no_model_is_named() {
    let model = String::from_utf8(fixture("reg-gamma.json")).expect("text");
    let cases = [
        (b"binf\0\0\0\0".to_vec(), "save_model"),
        (b"\x80\x04\x95".to_vec(), "save_model"),
        (b"{}".to_vec(), "learner"),
        (model.replacen("reg:gamma", "reg:delta", 1).into_bytes(), "reg:delta"),
        (model.replacen("\"name\":\"gbtree\"", "\"name\":\"other\"", 1).into_bytes(), "other"),
        (model.replacen("\"left_children\":[", "\"left_children\":[0,", 1).into_bytes(), "lengths"),
        (model.replacen("\"right_children\":[2,", "\"right_children\":[1,", 1).into_bytes(), "two ways"),
        (model.replace("\"num_feature\":\"10\"", "\"num_feature\":\"1\"").into_bytes(), "feature"),
        (model.as_bytes()[..model.len() / 2].to_vec(), "JSON"),
    ];
    for (content, says) in cases {
        let error = Booster::read(&content).err().expect(says).to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

fn survives(content: &[u8]) {
    if let Ok(booster) = Booster::read(content)
        && booster.columns().count < 1000
    {
        let columns = booster.columns().count;
        booster.predict(Table::new(columns, vec![1.5; columns * 2]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A model in which a few bytes were changed is served or refused.
    #[test]
    fn damage_is_survived(
        name in prop::sample::select(vec!["categories.json", "lossguide.ubj", "linear.json", "dart.json"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut content = fixture(name);
        for (index, byte) in changes {
            let index = index.index(content.len());
            content[index] = byte;
        }
        if cut {
            content.truncate(end.index(content.len()));
        }
        survives(&content);
    }

    #[test]
    fn any_bytes_are_survived(content in prop::collection::vec(any::<u8>(), 0..200), ubjson in any::<bool>()) {
        let start: &[u8] = if ubjson { b"{L\0\0\0\0\0\0\0\x07learner" } else { b"" };
        survives(&[start, content.as_slice()].concat());
    }
}
