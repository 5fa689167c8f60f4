//! Vectors for texts.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use purlin_nn::{Datatype, InferError, InferRequest, Parameter, Tensor};
use serde_json::{Value, json};

use super::base64;
use crate::body::Body;
use crate::call::{Call, json_value};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::served::Served;

/// Texts of one request at most.
const TEXTS: usize = 2048;

/// `POST .../embeddings`
pub(super) async fn embeddings(
    call: &Call,
    served: &Arc<Served>,
    fields: Fields<'_>,
) -> Result<Response<Body>, Failure> {
    let texts = texts(fields)?;
    let as_base64 = match fields.text("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(InferError::invalid("encoding_format", other, "must be float or base64").into());
        }
    };
    if fields.get("dimensions").is_some() {
        let reason = "is not supported: the model's vectors have the length that they have; leave it out";
        return Err(InferError::invalid("dimensions", "", reason).into());
    }
    let deadline = call.deadline(served);
    let metadata = call.core.metadata(served, deadline).await?;
    let input = metadata.inputs.iter().find(|input| input.datatype == Datatype::Bytes);
    if !metadata.tasks.embed {
        return Err(Failure::invalid(format!("model {:?} makes no embeddings", served.name)));
    }
    let request = InferRequest {
        id: call.request_id.clone(),
        inputs: vec![(
            input.map_or_else(|| "input".to_owned(), |input| input.name.clone()),
            Tensor::of_texts(&texts),
        )],
        ..InferRequest::default()
    };
    let response = call.core.infer(served, request, deadline).await?;
    let failed = |what: &str| InferError::Failed(format!("model {:?} {what}", served.name));
    let vectors = response.outputs.iter().find(|(_, tensor)| tensor.datatype() == Datatype::Fp32);
    let (_, vectors) = vectors.ok_or_else(|| failed("gave no FP32 output"))?;
    let size = match vectors.shape() {
        [count, size] if *count == texts.len() as u64 => *size as usize * 4,
        _ => return Err(failed("gave not one vector for each text").into()),
    };
    let mut data = Vec::with_capacity(texts.len());
    for index in 0..texts.len() {
        let vector = vectors.data().slice(index * size..(index + 1) * size);
        let embedding = if as_base64 { Value::from(base64(&vector)) } else { floats(&vector) };
        data.push(json!({"object": "embedding", "index": index, "embedding": embedding}));
    }
    let tokens = response.parameters.iter().find_map(|(name, value)| match value {
        Parameter::Int(tokens) if name == "prompt_tokens" => Some(*tokens),
        _ => None,
    });
    let tokens = tokens.unwrap_or(0);
    Ok(json_value(&json!({
        "object": "list",
        "model": served.name,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })))
}

fn floats(vector: &Bytes) -> Value {
    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap_or_default());
    vector.chunks_exact(4).map(|bytes| json!(float(bytes))).collect()
}

fn texts(fields: Fields<'_>) -> Result<Vec<String>, InferError> {
    let wrong = || {
        InferError::invalid(
            "input",
            "",
            format!("must be a string or an array of 1 to {TEXTS} strings; tokens are not supported"),
        )
    };
    match fields.get("input") {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(texts)) if (1..=TEXTS).contains(&texts.len()) => {
            texts.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}
