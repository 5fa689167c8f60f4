//! The generate extension: text for text, in one piece or as server-sent events. A request with tensors is answered with
//! tensors, also by a model that only knows text.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Response;
use purlin_nn::{
    Datatype, GenerateRequest, GenerationSettings, InferError, InferRequest, InferResponse, Parameter,
    Prompt, Tensor,
};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::call::{Call, ErrorForm, error_body, json_value};
use crate::core::{Core, Deadline};
use crate::failure::Failure;
use crate::fields::{Fields, object};
use crate::generate;
use crate::served::Served;

/// Texts of one request at most.
const TEXTS: u64 = 256;

/// `POST /v2/models/NAME/generate` and `.../generate_stream`, for a body with `text_input`.
pub(super) async fn generate(
    call: &Call,
    served: &Arc<Served>,
    body: &Bytes,
    stream: bool,
) -> Result<Response<Body>, Failure> {
    let request = parse(body)?;
    let generating = generate::begin(&call.core, served, request, call.deadline(served)).await?;
    let (model, version) = (served.name.clone(), served.config.version.clone());
    let piece = move |text: &str| {
        let mut piece = Map::new();
        piece.insert("model_name".to_owned(), model.as_str().into());
        if !version.is_empty() {
            piece.insert("model_version".to_owned(), version.as_str().into());
        }
        piece.insert("text_output".to_owned(), text.into());
        piece
    };
    if !stream {
        return Ok(json_value(&piece(&generating.collect().await?.text)));
    }
    Ok(generate::events(generating.detached().map(move |chunk| match chunk {
        Ok(chunk) => {
            let mut piece = piece(&chunk.text);
            piece.insert("done".to_owned(), chunk.finish.is_some().into());
            Value::Object(piece).to_string()
        }
        Err(failure) => String::from_utf8(error_body(&failure, ErrorForm::Plain)).unwrap_or_default(),
    })))
}

fn parse(body: &Bytes) -> Result<GenerateRequest, Failure> {
    let body = object(body)?;
    let fields = Fields(&body);
    let prompt = fields.required("text_input")?.to_owned();
    let id = fields.text("id")?.unwrap_or_default().to_owned();
    // What stands beside the text is a parameter as well.
    let mut parameters = body.clone();
    match parameters.remove("parameters") {
        None | Some(Value::Null) => {}
        Some(Value::Object(own)) => parameters.extend(own),
        Some(other) => {
            return Err(InferError::invalid("parameters", other.to_string(), "must be an object").into());
        }
    }
    let settings = Fields(&parameters).settings(0, 0.0)?;
    Ok(GenerateRequest { id, prompt: Prompt::Text(prompt), settings })
}

/// Tensors for tensors, by a model that only knows text: each text of the one input is continued.
pub(crate) async fn infer_with_text(
    core: &Core,
    served: &Arc<Served>,
    request: InferRequest,
    deadline: Deadline,
) -> Result<InferResponse, Failure> {
    let settings = settings_of(&request)?;
    let (name, tensor) = match request.inputs.as_slice() {
        [(name, tensor)] => (name, tensor),
        inputs => {
            let found = inputs.len().to_string();
            return Err(
                InferError::invalid("inputs", found, "the model takes text: give one BYTES tensor").into()
            );
        }
    };
    if tensor.datatype() != Datatype::Bytes || tensor.len() > TEXTS {
        let reason = format!("the model takes text: give BYTES with at most {TEXTS} elements");
        return Err(InferError::invalid(format!("input {name:?}"), tensor.datatype().as_str(), reason).into());
    }
    let mut answers = Vec::new();
    for text in tensor.texts() {
        let text = std::str::from_utf8(text)
            .map_err(|_| InferError::invalid(format!("input {name:?}"), "", "must be UTF-8"))?;
        let request = GenerateRequest {
            id: request.id.clone(),
            prompt: Prompt::Text(text.to_owned()),
            settings: settings.clone(),
        };
        answers.push(generate::begin(core, served, request, deadline).await?.collect().await?.text);
    }
    let shape = tensor.shape().to_vec();
    let output =
        Tensor::of_texts(&answers).reshaped(shape).map_err(|error| InferError::Failed(error.to_string()))?;
    let output_name = match request.outputs.as_slice() {
        [one] => one.clone(),
        _ => "text_output".to_owned(),
    };
    Ok(InferResponse { outputs: vec![(output_name, output)], parameters: Vec::new() })
}

fn settings_of(request: &InferRequest) -> Result<GenerationSettings, InferError> {
    let value = |parameter: &Parameter| match parameter {
        Parameter::Bool(value) => Value::from(*value),
        Parameter::Int(value) => Value::from(*value),
        Parameter::Real(value) => json!(value),
        Parameter::Text(value) => Value::from(value.as_str()),
    };
    let parameters: Map<String, Value> =
        request.parameters.iter().map(|(name, parameter)| (name.clone(), value(parameter))).collect();
    Fields(&parameters).settings(0, 0.0)
}
