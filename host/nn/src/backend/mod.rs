//! What a backend does: three small traits, in the manner of wasmtime's wasi-nn. A backend reads graphs of one encoding,
//! a graph computes, a language model decodes.

mod candle;
mod interface;
mod ort;
mod sampler;
mod tract;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

pub use self::candle::Candle;
pub use self::ort::Ort;
pub use self::tract::Tract;
use crate::error::NnError;
use crate::tensor::{Datatype, Tensor};

/// How a graph is encoded, by the names of wasi-nn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// ONNX.
    Onnx,
    /// GGUF, and checkpoints in safetensors: language models.
    Ggml,
}

impl Encoding {
    /// The name in wasi-nn and in grants.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Onnx => "onnx",
            Encoding::Ggml => "ggml",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a graph is computed, by the names of wasi-nn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    Cpu,
    /// A graphics processor.
    Gpu,
}

impl Device {
    /// The name in wasi-nn and in grants.
    pub fn as_str(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu => "gpu",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file of a model, in memory or on disk.
#[derive(Clone, Debug)]
pub enum ModelFile {
    /// Its content.
    Memory(Bytes),
    /// Where it lies. Weights in other files are found beside it. It does not change while it is used.
    Path(PathBuf),
}

/// How a graph is to be computed.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where.
    pub device: Device,
    /// Threads for one computation; 0 for the backend's own choice.
    pub threads: usize,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Unique among the inputs, or among the outputs.
    pub name: String,
    /// Of its elements.
    pub datatype: Datatype,
    /// The size of each dimension; -1 for one that a request chooses.
    pub shape: Vec<i64>,
}

/// Reads graphs of one encoding.
pub trait Backend: Send + Sync {
    /// A word for logs and conditions, such as `tract`.
    fn name(&self) -> &'static str;

    /// What it reads.
    fn encoding(&self) -> Encoding;

    /// Whether it can compute on this device, here and now; the text says what is missing.
    fn available(&self, device: Device) -> Result<(), String>;

    /// Reads a graph. Takes from milliseconds to minutes; call it on a thread for blocking work.
    fn load(&self, file: &ModelFile, options: &LoadOptions) -> Result<Arc<dyn Graph>, NnError>;
}

/// Reads language models of one encoding.
pub trait LanguageBackend: Send + Sync {
    /// A word for logs and conditions, such as `candle`.
    fn name(&self) -> &'static str;

    /// What it reads.
    fn encoding(&self) -> Encoding;

    /// Whether it can compute on this device, here and now; the text says what is missing.
    fn available(&self, device: Device) -> Result<(), String>;

    /// Reads a model. Takes from milliseconds to minutes; call it on a thread for blocking work.
    fn load(&self, file: &ModelFile, options: &LoadOptions) -> Result<Arc<dyn LanguageModel>, NnError>;
}

/// A loaded graph. Any number of threads may compute at once.
pub trait Graph: Send + Sync {
    /// What it takes, in its own order.
    fn inputs(&self) -> &[TensorInfo];

    /// What it gives, in its own order.
    fn outputs(&self) -> &[TensorInfo];

    /// About how much memory it holds, in bytes, weights included.
    fn memory(&self) -> u64;

    /// About how many threads a computation keeps busy, the caller's among them. Computations that use many threads get in
    /// each other's way if there are more of them at once than processors for their threads.
    fn width(&self) -> usize {
        1
    }

    /// Computes all outputs. Inputs may come in any order. Blocks until done.
    ///
    /// # Errors
    /// [`NnError::Input`] names the input that is missing, unknown, or of the wrong datatype or shape.
    fn compute(&self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, NnError>;
}

/// How the next token is chosen. Zero and empty values mean that a rule is not applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Tokens to generate at most.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability; 0 or 1 for all.
    pub top_p: f32,
    /// Only so many of the likeliest tokens; 0 for all.
    pub top_k: u32,
    /// Above 1, tokens that occurred are made less likely.
    pub repetition_penalty: f32,
    /// Taken from the logit of a token for each time that it was generated.
    pub frequency_penalty: f32,
    /// Taken from the logit of a token that was generated.
    pub presence_penalty: f32,
    /// The same seed gives the same tokens.
    pub seed: u64,
    /// Tokens that end the generation; they are not given.
    pub stop: Vec<u32>,
}

/// One generated token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Natural logarithm of its probability before sampling rules.
    pub logprob: f32,
}

/// A loaded language model. Many generations may go on at once.
pub trait LanguageModel: Send + Sync {
    /// The most tokens of prompt and answer together.
    fn context_length(&self) -> usize;

    /// How many tokens there are.
    fn vocabulary(&self) -> usize;

    /// About how much memory it holds, in bytes.
    fn memory(&self) -> u64;

    /// Begins a generation; nothing is computed yet.
    ///
    /// # Errors
    /// The prompt is empty, too long or has tokens that are not in the vocabulary.
    fn start(&self, prompt: &[u32], sampling: Sampling) -> Result<Box<dyn Decoding>, NnError>;
}

/// A generation in progress.
pub trait Decoding: Send {
    /// Computes the next token; `None` once it is complete. Blocks.
    fn next(&mut self) -> Result<Option<Token>, NnError>;
}
