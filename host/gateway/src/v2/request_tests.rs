//! What requests are read as, beside what serde makes of them.

use bytes::Bytes;
use proptest::prelude::*;
use purlin_nn::{Datatype, Tensor};
use serde_json::{Value, json};

use super::{has_inputs, parse_infer};

fn read(text: &str) -> Result<super::InferCall, String> {
    parse_infer(&Bytes::copy_from_slice(text.as_bytes()), None).map_err(|error| error.to_string())
}

#[test]
fn an_error_names_the_field_the_value_and_what_would_be_right() {
    for (text, message) in [
        (
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[-2],"data":[1]}]}"#,
            "inputs[0].shape: -2: each size must be a whole number of 0 or more, or -1 for one that the data decide",
        ),
        (
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1]}]}"#,
            "inputs[0].data: shape [2] has 2 elements of FP32, the data has 1",
        ),
        (
            r#"{"inputs":[{"name":"x","datatype":"F","shape":[2],"data":[1]}]}"#,
            "inputs[0].datatype: datatype \"F\" is none of the protocol's (BOOL, UINT8 to UINT64, INT8 to INT64, FP16, \
             BF16, FP32, FP64, BYTES)",
        ),
        ("{}", "inputs: is missing; give an array of tensors"),
    ] {
        assert_eq!(read(text).unwrap_err(), message);
    }
}

#[test]
fn binary_data_are_not_copied() {
    let json =
        br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}"#;
    let body = Bytes::from([json.as_slice(), &[0; 8]].concat());
    let call = parse_infer(&body, Some(json.len())).unwrap();
    assert_eq!(call.request.inputs[0].1.data().as_ptr(), body[json.len()..].as_ptr());
}

#[test]
fn requests_for_tensors_are_told_from_those_for_text() {
    assert!(has_inputs(br#"{"id":"1","inputs":[]}"#));
    assert!(!has_inputs(br#"{"text_input":"inputs"}"#));
    assert!(!has_inputs(br#"{"inputs":["#));
}

/// What serde makes of a request with one flat tensor of numbers, as far as it is right.
fn reference(text: &str) -> Option<(Vec<u64>, Vec<f64>)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let input = value.get("inputs")?.as_array()?.first()?;
    let shape: Option<Vec<u64>> = input["shape"].as_array()?.iter().map(Value::as_u64).collect();
    let data: Option<Vec<f64>> = input["data"].as_array()?.iter().map(Value::as_f64).collect();
    let (shape, data) = (shape?, data?);
    (shape.iter().product::<u64>() == data.len() as u64).then_some((shape, data))
}

proptest! {
    #[test]
    fn the_parser_agrees_with_serde(
        values in proptest::collection::vec(any::<f64>(), 0..20),
        wrong in 0_usize..4,
        space in "[ \n\t]{0,3}",
    ) {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let length = values.len() + usize::from(wrong == 0);
        let data: Vec<String> = values.iter().map(|value| json!(value).to_string()).collect();
        let data = data.join(&format!("{space},{space}"));
        let text = format!(
            r#"{{"inputs":{space}[{{"name":"x","datatype":"FP64","shape":[{length}],"data":[{data}]{space}}}]}}"#
        );
        match (reference(&text), read(&text)) {
            (Some((shape, values)), Ok(call)) => {
                let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                let expected = Tensor::new(Datatype::Fp64, shape, data.into()).unwrap();
                prop_assert_eq!(&call.request.inputs[0].1, &expected);
            }
            (None, Err(_)) => {}
            (expected, found) => prop_assert!(false, "{expected:?} {found:?}"),
        }
    }

    #[test]
    fn any_body_is_survived(
        body in proptest::collection::vec(any::<u8>(), 0..80),
        length in proptest::option::of(0_usize..100),
    ) {
        let _ = parse_infer(&body.into(), length);
    }

    #[test]
    fn any_shape_is_survived(shape in proptest::collection::vec(any::<i64>(), 0..6), data in "[0-9,]{0,9}") {
        let text = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"INT8","shape":{shape:?},"data":[{data}]}}]}}"#
        );
        let _ = read(&text);
    }
}
