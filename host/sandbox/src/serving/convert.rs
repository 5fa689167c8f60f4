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

/// Tensors that an instance gave back. Elements that several of them share count for each: each is written down.
pub(super) fn taken(
    store: &mut Store<CallState>,
    tensors: Vec<tensors::NamedTensor>,
) -> wasmtime::Result<Vec<(String, Tensor)>> {
    let state = store.data_mut();
    let room = state.plugin.limits.output.max(ANSWER);
    let table = &mut state.serving.get_or_insert_default().table;
    bounds::count(tensors.len())?;
    let (mut taken, mut size) = (Vec::with_capacity(tensors.len()), 0_usize);
    for named in tensors {
        let tensor = table.delete(named.value)?.tensor;
        bounds::name(&named.name)?;
        bounds::rank(&named.name, tensor.shape().len())?;
        size = size.saturating_add(tensor.data().len());
        if size > room {
            return Err(AnswerTooLarge(room).into());
        }
        taken.push((named.name, tensor));
    }
    Ok(taken)
}

/// Tensors of an answer have at least so many bytes together, whatever the plugin's limit.
const ANSWER: usize = 64 << 20;

/// Ends a call whose answer is larger than so many bytes.
#[derive(Debug, thiserror::Error)]
#[error("the tensors have more than {0} bytes together")]
pub(crate) struct AnswerTooLarge(pub(crate) usize);

/// What protocols can pass on of what a plugin says.
mod bounds {
    use wasmtime::{Result, bail};

    /// Tensors in one request, one answer, and the inputs or outputs of one model.
    const TENSORS: usize = 1024;
    /// Dimensions of a tensor.
    const RANK: usize = 32;
    /// Bytes of a tensor's name, and of other words about a model.
    const NAME: usize = 1024;

    pub(super) fn count(tensors: usize) -> Result<()> {
        if tensors > TENSORS {
            bail!("it has {tensors} tensors; there may be {TENSORS}");
        }
        Ok(())
    }

    pub(super) fn name(name: &str) -> Result<()> {
        if name.len() > NAME {
            bail!("a name has {} bytes; it may have {NAME}", name.len());
        }
        Ok(())
    }

    pub(super) fn rank(name: &str, rank: usize) -> Result<()> {
        if rank > RANK {
            bail!("the tensor {name:?} has {rank} dimensions; it may have {RANK}");
        }
        Ok(())
    }

    /// A model's own word for the sizes of its inputs and outputs, -1 for those that a request chooses.
    pub(super) fn sizes(name: &str, shape: &[i64]) -> Result<()> {
        rank(name, shape.len())?;
        if let Some(size) = shape.iter().find(|size| **size < -1) {
            bail!("the tensor {name:?} has a dimension of {size}; it may be -1, or what a size can be");
        }
        Ok(())
    }
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

/// What a model says about itself, where it can be so.
pub(super) fn metadata(from: serving::ModelMetadata) -> wasmtime::Result<ModelMetadata> {
    bounds::name(&from.platform)?;
    for tensors in [&from.inputs, &from.outputs] {
        bounds::count(tensors.len())?;
        for tensor in tensors {
            bounds::name(&tensor.name)?;
            bounds::sizes(&tensor.name, &tensor.shape)?;
        }
    }
    let tasks = from.tasks;
    Ok(ModelMetadata {
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
    })
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

/// The most bytes of a text in a fault; it is shown to people, in conditions and in answers.
const FAULT_TEXT: usize = 4096;
/// The most fields that a fault names.
const FAULT_FIELDS: usize = 32;

/// Nobody is told to come back later than in an hour, in milliseconds.
const LATEST: u64 = 3_600_000;

/// A fault, cut to what can be shown.
pub(super) fn shown(fault: Fault) -> Fault {
    match fault {
        Fault::Invalid(fields) if fields.is_empty() => {
            Fault::Failed("the plugin refuses what it was given and does not say why".to_owned())
        }
        Fault::Invalid(mut fields) => {
            fields.truncate(FAULT_FIELDS);
            // All of them together are one message.
            let room = FAULT_TEXT / fields.len().max(1);
            for error in &mut fields {
                cut(&mut error.field, room / 4);
                cut(&mut error.value, room / 4);
                cut(&mut error.reason, room / 2);
            }
            Fault::Invalid(fields)
        }
        Fault::Retry(mut retry) => {
            cut(&mut retry.reason, FAULT_TEXT);
            retry.after_ms = retry.after_ms.min(LATEST);
            Fault::Retry(retry)
        }
        Fault::Failed(mut text) => {
            cut(&mut text, FAULT_TEXT);
            if text.trim().is_empty() {
                text = "the plugin failed and does not say why".to_owned();
            }
            Fault::Failed(text)
        }
    }
}

fn cut(text: &mut String, room: usize) {
    if text.len() > room {
        let left_out = text.len() - text.floor_char_boundary(room);
        text.truncate(text.floor_char_boundary(room));
        text.push_str(&format!("... ({left_out} bytes more)"));
    }
}

/// What a client is told where the model that it asks could not be loaded again: that is not the client's error.
pub(super) fn not_loaded(error: CallError) -> InferError {
    match error {
        CallError::Fault(Fault::Invalid(_) | Fault::Failed(_))
        | CallError::Trap { .. }
        | CallError::MemoryExceeded { .. }
        | CallError::OutputTooLarge { .. }
        | CallError::Denied(_)
        | CallError::Malformed(_) => {
            InferError::Unavailable(format!("the model cannot be loaded again: {error}"))
        }
        other => other.into(),
    }
}

/// From this part of a plugin's memory on a request is taken to be why the memory was not enough.
const LARGE_PART: usize = 16;

/// What a client is told where the answer to a request of so many bytes of tensors ended in an error.
pub(super) fn unanswered(error: CallError, size: usize) -> InferError {
    match error {
        CallError::MemoryExceeded { limit } if size >= limit / LARGE_PART => InferError::TooLarge(format!(
            "the request's tensors have {size} bytes, and the model's plugin has {limit} bytes of memory to answer in; \
             send less at once, or raise spec.limits.memory of the Plugin"
        )),
        other => other.into(),
    }
}

/// What a client is told of a call that gave no answer.
impl From<CallError> for InferError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(Fault::Invalid(fields)) if fields.is_empty() => {
                InferError::Failed("the plugin refuses the request and does not say why".to_owned())
            }
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

#[cfg(test)]
mod tests {
    use purlin_nn::InferError;

    use super::{bounds, not_loaded, shown, unanswered};
    use crate::contract::{Fault, FieldError, Retry};
    use crate::error::CallError;

    fn field(text: &str) -> FieldError {
        FieldError { field: text.to_owned(), value: text.to_owned(), reason: text.to_owned() }
    }

    #[test]
    fn a_fault_is_cut_to_what_can_be_shown() {
        let long = "\u{e9}".repeat(1 << 19);
        let size = |fault: Fault| CallError::Fault(shown(fault)).to_string().len();
        assert!(size(Fault::Failed(long.clone())) < 5_000);
        assert!(size(Fault::Retry(Retry { after_ms: 1, reason: long.clone() })) < 5_000);
        assert!(size(Fault::Invalid(vec![field(&long)])) < 10_000);
        assert!(size(Fault::Invalid(vec![field(&"\u{e9}".repeat(500)); 20_000])) < 16_000);
        let short = Fault::Invalid(vec![field("spec.source.uri"); 3]);
        assert_eq!(shown(short.clone()), short);
        assert_eq!(shown(Fault::Failed("why".to_owned())), Fault::Failed("why".to_owned()));
        assert!(matches!(shown(Fault::Failed(" ".to_owned())), Fault::Failed(text) if text.contains("why")));
        assert!(matches!(shown(Fault::Invalid(Vec::new())), Fault::Failed(text) if text.contains("why")));
        let never = Fault::Retry(Retry { after_ms: u64::MAX, reason: String::new() });
        assert!(matches!(shown(never), Fault::Retry(retry) if retry.after_ms == 3_600_000));
    }

    #[test]
    fn a_request_is_too_large_where_it_may_be_why_the_memory_was_not_enough() {
        let short = CallError::MemoryExceeded { limit: 64 << 20 };
        let large = unanswered(short.clone(), 32 << 20);
        assert!(
            matches!(&large, InferError::TooLarge(text) if text.contains("spec.limits.memory")),
            "{large:?}"
        );
        assert!(matches!(unanswered(short, 1 << 10), InferError::Failed(_)));
        let trap = CallError::Malformed("x".to_owned());
        assert!(matches!(unanswered(trap, 32 << 20), InferError::Failed(_)));
    }

    #[test]
    fn what_a_model_says_of_its_settings_is_no_error_of_the_client() {
        let refused = CallError::Fault(Fault::Invalid(vec![field("spec.settings[0].value")]));
        assert!(matches!(InferError::from(refused.clone()), InferError::Invalid(_)));
        assert!(
            matches!(not_loaded(refused), InferError::Unavailable(text) if text.contains("spec.settings"))
        );
        assert!(matches!(
            InferError::from(CallError::Fault(Fault::Invalid(Vec::new()))),
            InferError::Failed(_)
        ));
    }

    #[test]
    fn what_protocols_cannot_pass_on_is_refused() {
        assert!(bounds::count(1024).is_ok() && bounds::count(1025).is_err());
        assert!(bounds::name("n").is_ok() && bounds::name(&"n".repeat(2000)).is_err());
        assert!(bounds::sizes("n", &[-1, 0, i64::MAX]).is_ok());
        assert!(bounds::sizes("n", &[-2]).is_err() && bounds::sizes("n", &[1; 33]).is_err());
    }
}
