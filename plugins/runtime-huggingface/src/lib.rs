//! Serves models as Hugging Face's libraries save them: a folder with `config.json`, `tokenizer.json` and weights.
//!
//! Texts become tokens here, by the model's own tokenizer. A model that embeds has its graph in ONNX; one that generates has
//! its weights in safetensors or GGUF. Both are computed on the host. Settings are those that KServe's huggingfaceserver
//! takes as flags.

mod embedding;
#[cfg(target_arch = "wasm32")]
mod entropy;
mod folder;
mod generation;
mod pooling;
mod settings;
mod template;
mod text;
mod tokens;

use purlin_sdk::{
    Fault, GenerateRequest, Generation, InferRequest, InferResponse, ModelMetadata, ModelRequest,
    ServingRuntime,
};

use crate::embedding::Embedder;
use crate::folder::Folder;
use crate::generation::Generator;
use crate::settings::{Settings, Task};

/// A loaded model.
pub enum HuggingFaceModel {
    /// Makes a vector of a text.
    Embedder(Box<Embedder>),
    /// Continues a text.
    Generator(Box<Generator>),
}

impl ServingRuntime for HuggingFaceModel {
    fn load(request: ModelRequest) -> Result<Self, Fault> {
        let settings = Settings::read(&request)?;
        let folder = Folder::find(&request)?;
        match settings.task.map_or_else(|| folder.task(), Ok)? {
            Task::Embedding => {
                Embedder::load(&folder, &settings).map(|model| HuggingFaceModel::Embedder(Box::new(model)))
            }
            Task::Generation => {
                Generator::load(&folder, &settings).map(|model| HuggingFaceModel::Generator(Box::new(model)))
            }
        }
    }

    fn metadata(&self) -> ModelMetadata {
        match self {
            HuggingFaceModel::Embedder(model) => model.metadata(),
            HuggingFaceModel::Generator(model) => model.metadata(),
        }
    }

    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        match self {
            HuggingFaceModel::Embedder(model) => model.embed(request),
            HuggingFaceModel::Generator(_) => {
                Err(Fault::Failed("the model generates text and takes no tensors".to_owned()))
            }
        }
    }

    fn generate(&self, request: GenerateRequest) -> Result<Box<dyn Generation>, Fault> {
        match self {
            HuggingFaceModel::Embedder(_) => {
                Err(Fault::Failed("the model makes embeddings and does not generate text".to_owned()))
            }
            HuggingFaceModel::Generator(model) => model.generate(request),
        }
    }
}

purlin_sdk::export_serving_runtime!(HuggingFaceModel);
