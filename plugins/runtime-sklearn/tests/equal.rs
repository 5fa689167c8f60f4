//! The answers of models that scikit-learn made, beside its own; see `fixtures.py`.

use std::fs;
use std::path::Path;

use purlin_tabular::{Answer, Table, Values};
use runtime_sklearn::Model;
use serde_json::Value;

/// How far a number may be from the library's, relative to it: numpy sums in another order. Of a probability it is how far
/// at all, where it is small. Labels are equal, and so are the answers of single trees.
const TOLERANCE: f64 = 1e-12;

/// The same where the library itself computes in FP32.
const SINGLE: f64 = 2e-6;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn numbers(value: &Value) -> Vec<f64> {
    let items = value.as_array().expect("a list");
    items
        .iter()
        .map(|item| if item.is_null() { f64::NAN } else { item.as_f64().expect("a number") })
        .collect()
}

/// What is different, if anything is.
fn difference(answer: &Answer, expected: &Value, dtype: &str, tolerance: f64) -> Option<String> {
    let list = expected.as_array().expect("a list");
    let wrong = |found: &dyn std::fmt::Debug| Some(format!("{found:?} is not {expected}"));
    let same = match (&answer.values, dtype) {
        (Values::Texts(found), "str") => {
            list.iter().map(|label| label.as_str()).eq(found.iter().map(|label| Some(label.as_str())))
        }
        (Values::Truths(found), "bool") => {
            list.iter().map(Value::as_bool).eq(found.iter().map(|label| Some(*label)))
        }
        (Values::Integers(found), "int64") => {
            list.iter().map(Value::as_i64).eq(found.iter().map(|label| Some(*label)))
        }
        (Values::Shorts(found), "int32") => {
            list.iter().map(Value::as_i64).eq(found.iter().map(|label| Some(i64::from(*label))))
        }
        (Values::Doubles(found), "float64") => {
            let expected = numbers(expected);
            let near = |(found, expected): (&f64, &f64)| {
                (found - expected).abs() <= tolerance * expected.abs().max(1e-3)
            };
            found.len() == expected.len() && found.iter().zip(&expected).all(near)
        }
        _ => false,
    };
    if same { None } else { wrong(&answer.values) }
}

#[test]
fn answers_are_those_of_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (mut checked, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder).expect("fixtures") {
        let file = entry.expect("a fixture").file_name().into_string().expect("a name");
        let Some(name) = file.strip_suffix(".json") else { continue };
        let case: Value = serde_json::from_slice(&fixture(&file)).expect("a case");
        checked += 1;
        let model = match Model::read(fixture(case["file"].as_str().expect("a file"))) {
            Ok(model) => model,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let single = case["single"] == true;
        let table = || Table { single, ..Table::new(model.columns().count, numbers(&case["rows"])) };
        let answer = model.predict(table()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let dtype = case["dtype"].as_str().expect("a dtype");
        let exact = name.contains("tree") && !name.contains("trees");
        let tolerance = if exact {
            0.0
        } else if single {
            SINGLE
        } else {
            TOLERANCE
        };
        wrong.extend(
            difference(&answer, &case["answers"], dtype, tolerance).map(|why| format!("{name}: {why}")),
        );
        assert_eq!(answer.width.map(Value::from).as_ref(), case["shape"].get(1), "{name}");
        assert_eq!(model.output(false), (answer.values.datatype(), answer.width), "{name}");
        let expected = &case["probabilities"];
        assert_eq!(model.has_probabilities(), !expected.is_null(), "{name}: probabilities");
        if !expected.is_null() {
            let answer = model.probabilities(table()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let why = difference(&answer, expected, "float64", tolerance);
            wrong.extend(why.map(|why| format!("{name}, probabilities: {why}")));
            assert_eq!(model.output(true), (answer.values.datatype(), answer.width), "{name}");
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked >= 120, "only {checked} fixtures were found");
}
