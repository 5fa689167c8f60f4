//! Between the contract's generated types and those of the host: field by field, in one place.

use purlin_nn::{
    Chunk, Datatype, FinishReason, GenerateRequest, GenerationSettings, InferError, InferRequest,
    InferResponse, InvalidField, ModelMetadata, Parameter, Prompt, Sampling, Tasks, Tensor, TensorInfo,
};
use wasmtime::Store;
use wasmtime::component::Resource;

use crate::call::CallState;
use crate::contract::serving::HeldTensor;

use crate::contract::serving::bindings::purlin::plugin::{language_models, serving, tensors};
use crate::contract::{Context, Fault};
use crate::error::CallError;

impl From<tensors::Datatype> for Datatype {
    fn from(datatype: tensors::Datatype) -> Self {
        match datatype {
            tensors::Datatype::Boolean => Datatype::Bool,
            tensors::Datatype::Uint8 => Datatype::Uint8,
            tensors::Datatype::Uint16 => Datatype::Uint16,
            tensors::Datatype::Uint32 => Datatype::Uint32,
            tensors::Datatype::Uint64 => Datatype::Uint64,
            tensors::Datatype::Int8 => Datatype::Int8,
            tensors::Datatype::Int16 => Datatype::Int16,
            tensors::Datatype::Int32 => Datatype::Int32,
            tensors::Datatype::Int64 => Datatype::Int64,
            tensors::Datatype::Fp16 => Datatype::Fp16,
            tensors::Datatype::Bf16 => Datatype::Bf16,
            tensors::Datatype::Fp32 => Datatype::Fp32,
            tensors::Datatype::Fp64 => Datatype::Fp64,
            tensors::Datatype::Bytes => Datatype::Bytes,
        }
    }
}

impl From<Datatype> for tensors::Datatype {
    fn from(datatype: Datatype) -> Self {
        match datatype {
            Datatype::Bool => tensors::Datatype::Boolean,
            Datatype::Uint8 => tensors::Datatype::Uint8,
            Datatype::Uint16 => tensors::Datatype::Uint16,
            Datatype::Uint32 => tensors::Datatype::Uint32,
            Datatype::Uint64 => tensors::Datatype::Uint64,
            Datatype::Int8 => tensors::Datatype::Int8,
            Datatype::Int16 => tensors::Datatype::Int16,
            Datatype::Int32 => tensors::Datatype::Int32,
            Datatype::Int64 => tensors::Datatype::Int64,
            Datatype::Fp16 => tensors::Datatype::Fp16,
            Datatype::Bf16 => tensors::Datatype::Bf16,
            Datatype::Fp32 => tensors::Datatype::Fp32,
            Datatype::Fp64 => tensors::Datatype::Fp64,
            Datatype::Bytes => tensors::Datatype::Bytes,
        }
    }
}

impl From<&TensorInfo> for tensors::TensorInfo {
    fn from(info: &TensorInfo) -> Self {
        let TensorInfo { name, datatype, shape } = info;
        tensors::TensorInfo { name: name.clone(), datatype: (*datatype).into(), shape: shape.clone() }
    }
}

fn tensor_info(info: tensors::TensorInfo) -> TensorInfo {
    TensorInfo { name: info.name, datatype: info.datatype.into(), shape: info.shape }
}

impl From<language_models::Sampling> for Sampling {
    fn from(from: language_models::Sampling) -> Self {
        Sampling {
            max_tokens: from.max_tokens,
            temperature: from.temperature,
            top_p: from.top_p,
            top_k: from.top_k,
            repetition_penalty: from.repetition_penalty,
            frequency_penalty: from.frequency_penalty,
            presence_penalty: from.presence_penalty,
            seed: from.seed,
            stop: from.stop,
        }
    }
}

/// Tensors for an instance: they stay on the host, and it gets their numbers.
pub(super) fn given(
    store: &mut Store<CallState>,
    tensors: Vec<(String, Tensor)>,
) -> wasmtime::Result<Vec<tensors::NamedTensor>> {
    let table = &mut store.data_mut().serving.get_or_insert_default().table;
    let named = tensors.into_iter().map(|(name, tensor)| {
        let value: Resource<HeldTensor> = table.push(HeldTensor::from(tensor))?;
        Ok(tensors::NamedTensor { name, value })
    });
    named.collect()
}

/// Tensors that an instance gave back.
pub(super) fn taken(
    store: &mut Store<CallState>,
    tensors: Vec<tensors::NamedTensor>,
) -> wasmtime::Result<Vec<(String, Tensor)>> {
    let table = &mut store.data_mut().serving.get_or_insert_default().table;
    tensors.into_iter().map(|named| Ok((named.name, table.delete(named.value)?.tensor))).collect()
}

pub(super) fn infer_request(
    store: &mut Store<CallState>,
    context: Context,
    request: InferRequest,
) -> wasmtime::Result<serving::InferRequest> {
    Ok(serving::InferRequest {
        context,
        id: request.id,
        inputs: given(store, request.inputs)?,
        outputs: request.outputs,
        parameters: lower_parameters(request.parameters),
    })
}

pub(super) fn answered(
    store: &mut Store<CallState>,
    answer: Result<serving::InferResponse, Fault>,
) -> wasmtime::Result<Result<InferResponse, Fault>> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(Ok(InferResponse {
        outputs: taken(store, answer.outputs)?,
        parameters: parameters(answer.parameters),
    }))
}

pub(super) fn metadata(from: serving::ModelMetadata) -> ModelMetadata {
    let tasks = from.tasks;
    ModelMetadata {
        platform: from.platform,
        inputs: from.inputs.into_iter().map(tensor_info).collect(),
        outputs: from.outputs.into_iter().map(tensor_info).collect(),
        tasks: Tasks {
            infer: tasks.contains(serving::Tasks::INFER),
            generate: tasks.contains(serving::Tasks::GENERATE),
            chat: tasks.contains(serving::Tasks::CHAT),
            embed: tasks.contains(serving::Tasks::EMBED),
            explain: false,
        },
        batchable: from.batchable,
    }
}

pub(super) fn lower_parameters(parameters: Vec<(String, Parameter)>) -> Vec<serving::Parameter> {
    let value = |value| match value {
        Parameter::Bool(value) => serving::ParameterValue::Boolean(value),
        Parameter::Int(value) => serving::ParameterValue::Integer(value),
        Parameter::Real(value) => serving::ParameterValue::Real(value),
        Parameter::Text(value) => serving::ParameterValue::Text(value),
    };
    parameters.into_iter().map(|(name, of)| serving::Parameter { name, value: value(of) }).collect()
}

pub(super) fn parameters(parameters: Vec<serving::Parameter>) -> Vec<(String, Parameter)> {
    let value = |value| match value {
        serving::ParameterValue::Boolean(value) => Parameter::Bool(value),
        serving::ParameterValue::Integer(value) => Parameter::Int(value),
        serving::ParameterValue::Real(value) => Parameter::Real(value),
        serving::ParameterValue::Text(value) => Parameter::Text(value),
    };
    parameters.into_iter().map(|parameter| (parameter.name, value(parameter.value))).collect()
}

pub(super) fn generate_request(context: Context, request: GenerateRequest) -> serving::GenerateRequest {
    let GenerationSettings {
        max_tokens,
        temperature,
        top_p,
        top_k,
        repetition_penalty,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
    } = request.settings;
    let message =
        |message: purlin_nn::Message| serving::Message { role: message.role, content: message.content };
    serving::GenerateRequest {
        context,
        id: request.id,
        prompt: match request.prompt {
            Prompt::Text(text) => serving::Prompt::Text(text),
            Prompt::Messages(messages) => {
                serving::Prompt::Messages(messages.into_iter().map(message).collect())
            }
        },
        settings: serving::GenerationSettings {
            max_tokens,
            temperature,
            top_p,
            top_k,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            seed,
            stop,
        },
    }
}

pub(super) fn chunk(from: serving::Chunk) -> Chunk {
    Chunk {
        text: from.text,
        tokens: from.tokens,
        logprob: from.logprob,
        finish: from.finish.map(|reason| match reason {
            serving::FinishReason::Stop => FinishReason::Stop,
            serving::FinishReason::Length => FinishReason::Length,
        }),
    }
}

/// What a client is told of a call that gave no answer.
impl From<CallError> for InferError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(Fault::Invalid(fields)) => {
                let field = |field: crate::contract::FieldError| InvalidField {
                    field: field.field,
                    value: field.value,
                    reason: field.reason,
                };
                InferError::Invalid(fields.into_iter().map(field).collect())
            }
            CallError::Fault(Fault::Retry(retry)) => InferError::Overloaded {
                reason: retry.reason,
                retry_after: std::time::Duration::from_millis(retry.after_ms),
            },
            CallError::Fault(Fault::Failed(reason)) => InferError::Failed(reason),
            CallError::DeadlineExceeded(after) => InferError::Deadline(after),
            CallError::QuotaExceeded { retry, .. } => {
                InferError::Overloaded { reason: error.to_string(), retry_after: retry }
            }
            CallError::Busy(_) | CallError::Host(_) => InferError::Unavailable(error.to_string()),
            CallError::NoSuchStage(_) => InferError::Unsupported(error.to_string()),
            CallError::Trap { .. }
            | CallError::MemoryExceeded { .. }
            | CallError::OutputTooLarge { .. }
            | CallError::Denied(_)
            | CallError::Malformed(_) => InferError::Failed(error.to_string()),
        }
    }
}
