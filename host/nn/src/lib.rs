//! Inference on the host: what a tensor is, and the backends that compute graphs and language models behind wasi-nn.
//!
//! Called by the sandbox, on behalf of plugins that were granted `nn(ENCODING on DEVICE)`. It knows no Kubernetes, no
//! plugin and no protocol; a graph comes in as files and goes out as a [`Graph`] that any number of threads may use.
#![deny(unsafe_code)]

pub mod backend;
pub mod backends;
mod crew;
pub mod error;
pub mod model;
mod shelf;
pub mod tensor;

pub use backend::{
    Backend, Candle, Decoding, Device, Encoding, Graph, LanguageBackend, LanguageModel, LoadOptions,
    ModelFile, Ort, Sampling, TensorInfo, Token, Tract,
};
pub use backends::{Backends, LoadedGraph, LoadedLanguageModel, Preference, Settings};
pub use error::NnError;
pub use model::{
    Chunk, FinishReason, GenerateRequest, Generation, GenerationSettings, InferError, InferRequest,
    InferResponse, InvalidField, Message, ModelMetadata, Parameter, Prompt, ServedModel, Tasks,
};
pub use tensor::{Datatype, Shape, Tensor, TensorError};

/// How many processors this process may use: its affinity and its control group's quota counted.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
