//! An answer of the Open Inference Protocol over REST. Outputs that are wanted as binary data follow the JSON as they are.

use bytes::Bytes;
use http::HeaderValue;
use purlin_nn::{InferResponse, Parameter, Tensor};

use super::request::InferCall;
use crate::failure::Failure;
use crate::json::{put_data, put_string};

/// The pieces of an answer's body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Encoded {
    /// The JSON.
    pub(crate) json: Vec<u8>,
    /// The binary data, in the order of the outputs.
    pub(crate) binary: Vec<Bytes>,
}

impl Encoded {
    /// Of `Inference-Header-Content-Length`, which an answer with binary data has.
    pub(crate) fn header_length(&self) -> Option<HeaderValue> {
        (!self.binary.is_empty()).then(|| HeaderValue::from(self.json.len()))
    }
}

/// Writes an answer.
pub(crate) fn encode(
    model: &str,
    version: &str,
    call: &InferCall,
    id: &str,
    response: &InferResponse,
) -> Result<Encoded, Failure> {
    let mut json = Vec::with_capacity(256);
    let mut binary = Vec::new();
    json.extend_from_slice(b"{\"model_name\":");
    put_string(&mut json, model);
    if !version.is_empty() {
        json.extend_from_slice(b",\"model_version\":");
        put_string(&mut json, version);
    }
    if !id.is_empty() {
        json.extend_from_slice(b",\"id\":");
        put_string(&mut json, id);
    }
    if !response.parameters.is_empty() {
        json.extend_from_slice(b",\"parameters\":");
        put_parameters(&mut json, &response.parameters);
    }
    json.extend_from_slice(b",\"outputs\":[");
    for (index, (name, tensor)) in response.outputs.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        put_output(&mut json, &mut binary, name, tensor, call.is_binary(name))?;
    }
    json.extend_from_slice(b"]}");
    Ok(Encoded { json, binary })
}

fn put_output(
    json: &mut Vec<u8>,
    binary: &mut Vec<Bytes>,
    name: &str,
    tensor: &Tensor,
    as_binary: bool,
) -> Result<(), Failure> {
    json.extend_from_slice(b"{\"name\":");
    put_string(json, name);
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(tensor.datatype().as_str().as_bytes());
    json.extend_from_slice(b"\",\"shape\":[");
    for (axis, size) in tensor.shape().iter().enumerate() {
        if axis > 0 {
            json.push(b',');
        }
        json.extend_from_slice(itoa::Buffer::new().format(*size).as_bytes());
    }
    json.push(b']');
    if as_binary {
        json.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
        json.extend_from_slice(itoa::Buffer::new().format(tensor.data().len()).as_bytes());
        json.extend_from_slice(b"}}");
        binary.push(tensor.data().clone());
        return Ok(());
    }
    json.extend_from_slice(b",\"data\":");
    put_data(json, tensor).map_err(|error| {
        Failure::invalid(format!(
            "the output {name:?} cannot be sent: {error}; ask for binary data (binary_data_output)"
        ))
    })?;
    json.push(b'}');
    Ok(())
}

fn put_parameters(json: &mut Vec<u8>, parameters: &[(String, Parameter)]) {
    json.push(b'{');
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        put_string(json, name);
        json.push(b':');
        match value {
            Parameter::Bool(value) => json.extend_from_slice(if *value { b"true" } else { b"false" }),
            Parameter::Int(value) => json.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Parameter::Real(value) if value.is_finite() => {
                json.extend_from_slice(zmij::Buffer::new().format_finite(*value).as_bytes());
            }
            Parameter::Real(_) => json.extend_from_slice(b"null"),
            Parameter::Text(value) => put_string(json, value),
        }
    }
    json.push(b'}');
}
