//! Tensors between gRPC's messages and the vocabulary of inference. Raw contents are not copied.

use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_nn::tensor::put_bytes_element;
use purlin_nn::{Datatype, InferError, InferRequest, InferResponse, Parameter, Tensor};

use super::inference::infer_parameter::ParameterChoice;
use super::inference::model_infer_request::InferInputTensor;
use super::inference::model_infer_response::InferOutputTensor;
use super::inference::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::v2::resolve_shape;

/// Tensors of one request at most.
const TENSORS: usize = 1024;
/// Dimensions at most.
const RANK: usize = 32;

/// A request, and whether its tensors were raw: so are those of the answer then.
pub(super) fn request(message: ModelInferRequest) -> Result<(InferRequest, bool), InferError> {
    let raw = !message.raw_input_contents.is_empty();
    if message.inputs.len() > TENSORS || message.outputs.len() > TENSORS {
        return Err(InferError::invalid("inputs", "", format!("at most {TENSORS} tensors")));
    }
    if raw && message.raw_input_contents.len() != message.inputs.len() {
        return Err(InferError::invalid(
            "raw_input_contents",
            message.raw_input_contents.len().to_string(),
            format!("must be as many as the inputs, {}", message.inputs.len()),
        ));
    }
    let mut inputs: Vec<(String, Tensor)> = Vec::with_capacity(message.inputs.len());
    let mut contents = message.raw_input_contents.into_iter();
    for (index, input) in message.inputs.into_iter().enumerate() {
        if inputs.iter().any(|(name, _)| *name == input.name) {
            return Err(InferError::invalid(
                format!("inputs[{index}].name"),
                format!("{:?}", input.name),
                "another input has this name; each must have its own",
            ));
        }
        let tensor = tensor(&input, contents.next(), index)?;
        inputs.push((input.name, tensor));
    }
    let mut outputs = Vec::with_capacity(message.outputs.len());
    for (index, output) in message.outputs.into_iter().enumerate() {
        if outputs.contains(&output.name) {
            let reason = "is asked for twice; name each output once";
            return Err(InferError::invalid(
                format!("outputs[{index}].name"),
                format!("{:?}", output.name),
                reason,
            ));
        }
        outputs.push(output.name);
    }
    let parameters = parameters(message.parameters);
    Ok((InferRequest { id: message.id, inputs, outputs, parameters }, raw))
}

fn parameters(given: BTreeMap<String, InferParameter>) -> Vec<(String, Parameter)> {
    let value = |choice: ParameterChoice| match choice {
        ParameterChoice::BoolParam(value) => Parameter::Bool(value),
        ParameterChoice::Int64Param(value) => Parameter::Int(value),
        ParameterChoice::StringParam(value) => Parameter::Text(value),
        ParameterChoice::DoubleParam(value) => Parameter::Real(value),
        ParameterChoice::Uint64Param(value) => match i64::try_from(value) {
            Ok(value) => Parameter::Int(value),
            Err(_) => Parameter::Real(value as f64),
        },
    };
    let given = given.into_iter().filter(|(name, _)| name != "binary_data_output");
    given.filter_map(|(name, parameter)| Some((name, value(parameter.parameter_choice?)))).collect()
}

fn tensor(input: &InferInputTensor, raw: Option<Bytes>, index: usize) -> Result<Tensor, InferError> {
    let at = |member: &str| format!("inputs[{index}].{member}");
    let datatype: Datatype = input
        .datatype
        .parse()
        .map_err(|error| InferError::invalid(at("datatype"), "", format!("{error}")))?;
    if input.shape.len() > RANK {
        return Err(InferError::invalid(at("shape"), "", format!("at most {RANK} dimensions")));
    }
    if input.parameters.contains_key("shared_memory_region") {
        let reason = "shared memory is not supported; send the elements";
        return Err(InferError::invalid(at("parameters.shared_memory_region"), "", reason));
    }
    let (data, field) = match (raw, &input.contents) {
        (Some(_), Some(contents)) if *contents != InferTensorContents::default() => {
            let reason = "stands beside raw_input_contents; send the elements once";
            return Err(InferError::invalid(at("contents"), "", reason));
        }
        (Some(raw), _) => (raw, format!("raw_input_contents[{index}]")),
        (None, Some(contents)) => (elements(contents, datatype, &at("contents"))?, at("contents")),
        (None, None) => (Bytes::new(), at("contents")),
    };
    let shape = resolve_shape(&input.shape, datatype, &data)
        .map_err(|(value, reason)| InferError::invalid(at("shape"), value, reason))?;
    Tensor::new(datatype, shape, data).map_err(|error| InferError::invalid(field, "", error.to_string()))
}

/// The elements of the field for a datatype.
fn elements(contents: &InferTensorContents, datatype: Datatype, field: &str) -> Result<Bytes, InferError> {
    let range = |value: &dyn std::fmt::Display| {
        InferError::invalid(field, value.to_string(), format!("does not fit {datatype}"))
    };
    let mut data = Vec::new();
    match datatype {
        Datatype::Bool => data.extend(contents.bool_contents.iter().map(|value| u8::from(*value))),
        Datatype::Int8 => {
            for value in &contents.int_contents {
                data.extend_from_slice(&i8::try_from(*value).map_err(|_| range(value))?.to_le_bytes());
            }
        }
        Datatype::Int16 => {
            for value in &contents.int_contents {
                data.extend_from_slice(&i16::try_from(*value).map_err(|_| range(value))?.to_le_bytes());
            }
        }
        Datatype::Uint8 => {
            for value in &contents.uint_contents {
                data.extend_from_slice(&u8::try_from(*value).map_err(|_| range(value))?.to_le_bytes());
            }
        }
        Datatype::Uint16 => {
            for value in &contents.uint_contents {
                data.extend_from_slice(&u16::try_from(*value).map_err(|_| range(value))?.to_le_bytes());
            }
        }
        Datatype::Int32 => data.extend(contents.int_contents.iter().flat_map(|value| value.to_le_bytes())),
        Datatype::Int64 => data.extend(contents.int64_contents.iter().flat_map(|value| value.to_le_bytes())),
        Datatype::Uint32 => data.extend(contents.uint_contents.iter().flat_map(|value| value.to_le_bytes())),
        Datatype::Uint64 => {
            data.extend(contents.uint64_contents.iter().flat_map(|value| value.to_le_bytes()))
        }
        Datatype::Fp32 => data.extend(contents.fp32_contents.iter().flat_map(|value| value.to_le_bytes())),
        Datatype::Fp64 => data.extend(contents.fp64_contents.iter().flat_map(|value| value.to_le_bytes())),
        Datatype::Bytes => {
            contents.bytes_contents.iter().for_each(|value| put_bytes_element(&mut data, value))
        }
        Datatype::Fp16 | Datatype::Bf16 => {
            let reason = format!("{datatype} has no typed contents; send raw_input_contents");
            return Err(InferError::invalid(field, "", reason));
        }
    }
    Ok(data.into())
}

/// An answer, with raw contents where the request had them or an output has no others.
pub(super) fn response(
    model: &str,
    version: &str,
    id: String,
    answer: InferResponse,
    raw: bool,
) -> ModelInferResponse {
    let half = |(_, tensor): &(String, Tensor)| matches!(tensor.datatype(), Datatype::Fp16 | Datatype::Bf16);
    let raw = raw || answer.outputs.iter().any(half);
    let mut message = ModelInferResponse {
        model_name: model.to_owned(),
        model_version: version.to_owned(),
        id,
        parameters: answer.parameters.into_iter().map(|(name, value)| (name, parameter(value))).collect(),
        ..ModelInferResponse::default()
    };
    for (name, tensor) in answer.outputs {
        let contents = (!raw).then(|| typed(&tensor));
        let (datatype, shape, data) = tensor.into_parts();
        message.outputs.push(InferOutputTensor {
            name,
            datatype: datatype.as_str().to_owned(),
            // A size beyond i64 would have more elements than memory.
            shape: shape.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
            parameters: BTreeMap::new(),
            contents,
        });
        if raw {
            message.raw_output_contents.push(data);
        }
    }
    message
}

fn parameter(value: Parameter) -> InferParameter {
    let choice = match value {
        Parameter::Bool(value) => ParameterChoice::BoolParam(value),
        Parameter::Int(value) => ParameterChoice::Int64Param(value),
        Parameter::Real(value) => ParameterChoice::DoubleParam(value),
        Parameter::Text(value) => ParameterChoice::StringParam(value),
    };
    InferParameter { parameter_choice: Some(choice) }
}

fn typed(tensor: &Tensor) -> InferTensorContents {
    fn each<const N: usize, T>(tensor: &Tensor, read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (elements, _) = tensor.data().as_chunks::<N>();
        elements.iter().map(|bytes| read(*bytes)).collect()
    }
    let mut contents = InferTensorContents::default();
    match tensor.datatype() {
        Datatype::Bool => contents.bool_contents = each(tensor, |[byte]| byte != 0),
        Datatype::Int8 => contents.int_contents = each(tensor, |bytes| i8::from_le_bytes(bytes).into()),
        Datatype::Int16 => contents.int_contents = each(tensor, |bytes| i16::from_le_bytes(bytes).into()),
        Datatype::Int32 => contents.int_contents = each(tensor, i32::from_le_bytes),
        Datatype::Int64 => contents.int64_contents = each(tensor, i64::from_le_bytes),
        Datatype::Uint8 => contents.uint_contents = each(tensor, |bytes| u8::from_le_bytes(bytes).into()),
        Datatype::Uint16 => contents.uint_contents = each(tensor, |bytes| u16::from_le_bytes(bytes).into()),
        Datatype::Uint32 => contents.uint_contents = each(tensor, u32::from_le_bytes),
        Datatype::Uint64 => contents.uint64_contents = each(tensor, u64::from_le_bytes),
        Datatype::Fp32 => contents.fp32_contents = each(tensor, f32::from_le_bytes),
        Datatype::Fp64 => contents.fp64_contents = each(tensor, f64::from_le_bytes),
        Datatype::Bytes => contents.bytes_contents = tensor.texts().map(Bytes::copy_from_slice).collect(),
        // Sent raw, whatever the request was.
        Datatype::Fp16 | Datatype::Bf16 => {}
    }
    contents
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use purlin_nn::{Datatype, InferResponse, Tensor};

    use super::super::inference::model_infer_request::InferInputTensor;
    use super::super::inference::{InferTensorContents, ModelInferRequest};
    use super::{elements, request, response, typed};

    #[test]
    fn typed_contents_come_back() {
        let data = Bytes::from_static(&[1, 0, 1, 0, 1, 0, 1, 0]);
        for datatype in Datatype::ALL {
            let Some(size) = datatype.size() else { continue };
            if matches!(datatype, Datatype::Fp16 | Datatype::Bf16) {
                continue;
            }
            let tensor = Tensor::new(*datatype, vec![8 / size as u64], data.clone()).unwrap();
            assert_eq!(elements(&typed(&tensor), *datatype, "f").unwrap(), data, "{datatype}");
        }
        let texts = Tensor::of_texts(&["a", ""]);
        assert_eq!(&elements(&typed(&texts), Datatype::Bytes, "f").unwrap(), texts.data());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let input = |datatype: &str, shape: &[i64], contents| InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        let ints =
            |values: &[i32]| InferTensorContents { int_contents: values.to_vec(), ..Default::default() };
        let of = |inputs: Vec<InferInputTensor>, raw: Vec<Bytes>| {
            request(ModelInferRequest { inputs, raw_input_contents: raw, ..Default::default() })
        };
        assert!(of(vec![input("INT8", &[2], ints(&[1, 2]))], vec![]).is_ok());
        assert!(of(vec![input("INT8", &[-1], ints(&[1, 2]))], vec![]).is_ok());
        assert!(of(vec![input("INT8", &[2], ints(&[1, 200]))], vec![]).is_err());
        assert!(of(vec![input("INT8", &[3], ints(&[1, 2]))], vec![]).is_err());
        assert!(of(vec![input("FP16", &[1], ints(&[1]))], vec![]).is_err());
        assert!(of(vec![input("INT8", &[-2], ints(&[1]))], vec![]).is_err());
        assert!(of(vec![input("INT8", &[i64::MAX, i64::MAX], ints(&[1]))], vec![]).is_err());
        assert!(of(vec![input("INT8", &[1], ints(&[1]))], vec![Bytes::from_static(&[1])]).is_err());
        assert!(of(vec![], vec![Bytes::new()]).is_err());
        let twice = vec![input("INT8", &[1], ints(&[1])), input("INT8", &[1], ints(&[1]))];
        assert!(of(twice, vec![]).is_err());
    }

    #[test]
    fn raw_contents_are_not_copied() {
        let data = Bytes::from(vec![0; 8]);
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![2],
            ..InferInputTensor::default()
        };
        let message = ModelInferRequest {
            inputs: vec![input],
            raw_input_contents: vec![data.clone()],
            ..Default::default()
        };
        let (read, raw) = request(message).unwrap();
        assert_eq!(read.inputs[0].1.data().as_ptr(), data.as_ptr());
        let answer = InferResponse { outputs: read.inputs, parameters: Vec::new() };
        let sent = response("m", "", String::new(), answer, raw);
        assert_eq!(sent.raw_output_contents[0].as_ptr(), data.as_ptr());
    }
}
