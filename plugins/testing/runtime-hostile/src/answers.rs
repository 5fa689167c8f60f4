//! Answers to requests with tensors, from good ones to those that no host should pass on.

use purlin_sdk::serving::{Parameter, ParameterValue};
use purlin_sdk::{Datatype, Fault, InferRequest, InferResponse, NamedTensor, Tensor, tensor};

use crate::faults;

/// What a behaving model answers.
pub(crate) fn good() -> Result<InferResponse, Fault> {
    Ok(one("good", tensor::integers(&[1], &[42])?))
}

/// The answer of a mode; `None` where the mode is of another sort.
pub(crate) fn of(mode: &str, request: InferRequest) -> Option<Result<InferResponse, Fault>> {
    // What the host refuses to make is told as the plugin's own fault.
    let made = |datatype, shape: &[u64], data: &[u8]| {
        Tensor::make(datatype, shape, data).map(|tensor| one("good", tensor)).map_err(Fault::Failed)
    };
    Some(match mode {
        "shape-short" => made(Datatype::Int64, &[3], &[0; 8]),
        "shape-overflow" => made(Datatype::Int64, &[u64::MAX, u64::MAX, 2], &[0; 8]),
        // One element in a hundred thousand dimensions: arrays within arrays, for protocols that nest.
        "shape-deep" => made(Datatype::Int64, &[1; 100_000], &[0; 8]),
        // No elements, in more arrays than there is memory for.
        "shape-empty" => made(Datatype::Int64, &[4096, 4096, 4096, 4096, 0], &[]),
        "reshape-overflow" => tensor::integers(&[1], &[42]).and_then(|tensor| {
            let other = tensor.reshape(&[u64::MAX, u64::MAX]);
            other.map(|tensor| one("good", tensor)).map_err(Fault::Failed)
        }),
        "bytes-cut" => made(Datatype::Bytes, &[1], &[0xff, 0xff, 0xff, 0xff, b'x']),
        "bytes-many" => made(Datatype::Bytes, &[u64::MAX], &[0; 64]),
        "boolean-other" => made(Datatype::Boolean, &[2], &[7, 255]),
        "datatype-unknown" => made(unknown(), &[1], &[0; 8]),
        "output-over" => made(Datatype::Uint8, &[16 << 20], &vec![1; 16 << 20]),
        // One megabyte many times: passing a tensor on copies nothing, writing it down does.
        "output-shared" => many(512, Datatype::Uint8, 1 << 20),
        "outputs-thousands" => many(5_000, Datatype::Uint8, 1),
        "outputs-endless" => many(1_000_000, Datatype::Uint8, 1),
        // As much as one answer may have.
        "output-large" => made(Datatype::Uint8, &[4 << 20], &vec![200; 4 << 20]),
        "outputs-none" => Ok(InferResponse { outputs: Vec::new(), parameters: Vec::new() }),
        "outputs-same-name" => tensor::integers(&[1], &[42]).and_then(|first| {
            let second = tensor::integers(&[1], &[43])?;
            let outputs = vec![NamedTensor::new("good", first), NamedTensor::new("good", second)];
            Ok(InferResponse { outputs, parameters: Vec::new() })
        }),
        "name-not-utf-8" => tensor::integers(&[1], &[42]).map(|tensor| one(faults::not_utf_8(), tensor)),
        "name-control" => tensor::integers(&[1], &[42])
            .map(|tensor| one("a\"\\\r\n\u{0}\u{1b}[31m\u{2028}\u{202e}", tensor)),
        "name-huge" => tensor::integers(&[1], &[42]).map(|tensor| one("n".repeat(6 << 20), tensor)),
        "parameter-nan" => good().map(|answer| InferResponse {
            parameters: vec![
                Parameter { name: "p".to_owned(), value: ParameterValue::Real(f64::NAN) },
                Parameter { name: "p".to_owned(), value: ParameterValue::Boolean(true) },
            ],
            ..answer
        }),
        "values-nan" => tensor::floats(&[1], &[f32::NAN]).map(|tensor| one("good", tensor)),
        // A copy of all inputs for each that there is room for.
        "copies" => {
            let mut copies: Vec<Vec<u8>> = Vec::new();
            for input in &request.inputs {
                let data = input.value.data();
                copies.push(std::hint::black_box(data.repeat(8)));
            }
            Err(Fault::Failed(format!("{} copies were made", copies.len())))
        }
        _ => return None,
    })
}

fn one(name: impl Into<String>, tensor: Tensor) -> InferResponse {
    InferResponse { outputs: vec![NamedTensor::new(name, tensor)], parameters: Vec::new() }
}

/// The same elements under many names.
fn many(count: usize, datatype: Datatype, size: usize) -> Result<InferResponse, Fault> {
    let shape = [size as u64];
    let first = Tensor::make(datatype, &shape, &vec![1; size]).map_err(Fault::Failed)?;
    let mut outputs = Vec::with_capacity(count);
    for index in 0..count {
        let again = first.reshape(&shape).map_err(Fault::Failed)?;
        outputs.push(NamedTensor::new(format!("o{index}"), again));
    }
    Ok(InferResponse { outputs, parameters: Vec::new() })
}

/// A datatype that the contract does not have, which safe Rust cannot make.
fn unknown() -> Datatype {
    let number = std::hint::black_box(200_u8);
    // SAFETY: none. The value is only handed to the host, which must refuse it.
    unsafe { std::mem::transmute::<u8, Datatype>(number) }
}
