//! What a served model is asked and what it answers, whoever serves it: the vocabulary between the gateway's protocols and
//! those who have the model (plugins, containers, tests).

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::backend::TensorInfo;
use crate::tensor::Tensor;

/// A value beside the tensors, as the protocol's `parameters`.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
}

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Tensors for tensors.
    pub infer: bool,
    /// Text that goes on.
    pub generate: bool,
    /// The next message of a conversation.
    pub chat: bool,
    /// A vector for a text.
    pub embed: bool,
    /// Why an answer is what it is.
    pub explain: bool,
}

/// What a model says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelMetadata {
    /// As the protocol has it, such as `onnx`.
    pub platform: String,
    /// What it takes.
    pub inputs: Vec<TensorInfo>,
    /// What it gives.
    pub outputs: Vec<TensorInfo>,
    /// What it can be asked for.
    pub tasks: Tasks,
    /// Whether requests may be put together along the first dimension of every input, and the outputs be cut apart
    /// along theirs.
    pub batchable: bool,
}

/// A request for tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// Chosen by the client; empty for none.
    pub id: String,
    /// By name, in the order of the request.
    pub inputs: Vec<(String, Tensor)>,
    /// The outputs that are wanted; empty for all.
    pub outputs: Vec<String>,
    /// Beside the tensors.
    pub parameters: Vec<(String, Parameter)>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferResponse {
    /// By name.
    pub outputs: Vec<(String, Tensor)>,
    /// Beside the tensors.
    pub parameters: Vec<(String, Parameter)>,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Such as `user`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// What text is generated from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Continued as it is.
    Text(String),
    /// A conversation, put into the model's own form.
    Messages(Vec<Message>),
}

/// How text is generated. Zero and empty values leave a rule out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationSettings {
    /// Tokens at most; 0 for as many as the model's context has room for.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: f32,
    /// Only so many of the likeliest tokens.
    pub top_k: u32,
    /// Above 1, tokens that occurred are made less likely.
    pub repetition_penalty: f32,
    /// Taken from the logit of a token for each time that it was generated.
    pub frequency_penalty: f32,
    /// Taken from the logit of a token that was generated.
    pub presence_penalty: f32,
    /// The same seed gives the same text.
    pub seed: u64,
    /// Texts that end the generation; they are not part of it.
    pub stop: Vec<String>,
}

/// A request for text.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// Chosen by the client; empty for none.
    pub id: String,
    /// What it is generated from.
    pub prompt: Prompt,
    /// How.
    pub settings: GenerationSettings,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop text occurred.
    Stop,
    /// No more tokens were allowed.
    Length,
}

/// A piece of generated text. Pieces put together are the whole text; a piece is never half a character.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The piece; may be empty.
    pub text: String,
    /// Tokens that were generated for it.
    pub tokens: u32,
    /// Of the last of its tokens.
    pub logprob: f32,
    /// Set on the last piece.
    pub finish: Option<FinishReason>,
}

/// Text in the making.
pub struct Generation {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// The pieces. Dropping it ends the generation.
    pub chunks: BoxStream<'static, Result<Chunk, InferError>>,
}

/// One thing that the client must correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Such as `inputs[0].shape`.
    pub field: String,
    /// What stands there; empty where it is missing.
    pub value: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// Why a request was not answered. The text is shown to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// The request is wrong. Never empty.
    #[error("{}", sentence(.0))]
    Invalid(Vec<InvalidField>),
    /// The model cannot be asked for this, such as text from one that only takes tensors.
    #[error("{0}")]
    Unsupported(String),
    /// More than the model can take at once. Says what the limit is.
    #[error("{0}")]
    TooLarge(String),
    /// Too many requests; it may be tried again.
    #[error("too many requests: {reason}")]
    Overloaded {
        /// What is used up.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The model is not loaded, cannot be loaded, or its server is gone; it may be tried again.
    #[error("{0}")]
    Unavailable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The model failed.
    #[error("{0}")]
    Failed(String),
}

fn sentence(fields: &[InvalidField]) -> String {
    let one = |field: &InvalidField| match field.value.as_str() {
        "" => format!("{}: {}", field.field, field.reason),
        value => format!("{}: {value}: {}", field.field, field.reason),
    };
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl InferError {
    /// One thing that is wrong with a request.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> InferError {
        InferError::Invalid(vec![InvalidField {
            field: field.into(),
            value: value.into(),
            reason: reason.into(),
        }])
    }
}

/// A model that can answer.
#[async_trait]
pub trait ServedModel: Send + Sync {
    /// What it says about itself.
    fn metadata(&self) -> &ModelMetadata;

    /// Tensors for tensors.
    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError>;

    /// Text for text.
    async fn generate(&self, _: GenerateRequest) -> Result<Generation, InferError> {
        Err(InferError::Unsupported("the model does not generate text".to_owned()))
    }

    /// Why the answer to a request is what it is.
    async fn explain(&self, _: InferRequest) -> Result<InferResponse, InferError> {
        Err(InferError::Unsupported("the model does not explain".to_owned()))
    }
}
