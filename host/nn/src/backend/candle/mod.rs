//! Language models by candle: checkpoints as Hugging Face's transformers write them (`config.json` with safetensors beside
//! it) and GGUF, quantised or not. Pure Rust and part of the binary on the processor; on NVIDIA GPUs with the feature `cuda`.
//!
//! The forward passes are written here, on candle's tensors: the family of Llama ([`llama`]) and GPT-2 ([`gpt2`]). What a
//! model's files say is not trusted: sizes are bounded, and every tensor's shape is compared with what the configuration
//! asks for before anything is allocated for it.

mod attention;
mod config;
mod decoding;
mod gguf;
mod gpt2;
mod layers;
mod llama;
mod safetensors;

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device as Place, Tensor};

use self::attention::Cache;
use self::config::{Architecture, Extent};
use self::decoding::{CandleModel, Pool};
use self::gguf::Gguf;
use self::gpt2::Gpt2;
use self::layers::Weights;
use self::llama::Llama;
use self::safetensors::Checkpoint;
use crate::backend::{Device, Encoding, LanguageBackend, LanguageModel, LoadOptions, ModelFile};
use crate::error::NnError;

/// Language models, with nothing to install.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candle;

impl LanguageBackend for Candle {
    fn name(&self) -> &'static str {
        "candle"
    }

    fn encoding(&self) -> Encoding {
        Encoding::Ggml
    }

    fn available(&self, device: Device) -> Result<(), String> {
        place(device).map(drop)
    }

    fn load(&self, file: &ModelFile, options: &LoadOptions) -> Result<Arc<dyn LanguageModel>, NnError> {
        let unavailable =
            |reason| NnError::NoBackend { encoding: Encoding::Ggml, device: options.device, reason };
        let place = place(options.device).map_err(unavailable)?;
        let pool = Pool::new(options.threads, &place)?;
        Ok(Arc::new(read(file, &place, pool)?))
    }
}

/// Where candle computes; the text says what is missing.
fn place(device: Device) -> Result<Place, String> {
    match device {
        Device::Cpu => Ok(Place::Cpu),
        Device::Gpu => gpu(),
    }
}

/// One for the process: models share the kernels, which take a while to be loaded, and the memory for intermediate results,
/// which candle never gives back.
#[cfg(feature = "cuda")]
fn gpu() -> Result<Place, String> {
    use std::sync::{Mutex, PoisonError};

    static FOUND: Mutex<Option<Place>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = &*found {
        return Ok(place.clone());
    }
    let place = Place::new_cuda(0).map_err(|error| {
        format!("no NVIDIA GPU can be used; install its driver and CUDA's libraries: {error}")
    })?;
    Ok(found.insert(place).clone())
}

#[cfg(not(feature = "cuda"))]
fn gpu() -> Result<Place, String> {
    Err("this build computes language models on the processor only; build it with `--features cuda`, or set spec.device \
         to cpu"
        .to_owned())
}

/// A network that turns tokens to logits.
trait Network: Send + Sync {
    /// The logits behind the last of the tokens: `[vocabulary]`, FP32. The first token is at `position`; what was before it
    /// is in `caches`, one a layer, which take in the new tokens.
    fn forward(&self, tokens: &[u32], position: usize, caches: &mut [Cache]) -> candle_core::Result<Tensor>;
}

/// Reads a model: GGUF by its file, a checkpoint by its `config.json`.
fn read(file: &ModelFile, place: &Place, pool: Pool) -> Result<CandleModel, NnError> {
    let ModelFile::Path(path) = file else {
        let reason = "a language model is read from its files, not from memory";
        return Err(NnError::Unreadable(reason.to_owned()));
    };
    let is_config = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let (network, extent, bytes) =
        pool.run(|| if is_config { read_checkpoint(path, place) } else { read_gguf(path, place) })?;
    Ok(CandleModel::new(network, extent, bytes, pool))
}

/// A network, its size, and the bytes of its weights.
type Loaded = (Box<dyn Network>, Extent, u64);

fn read_checkpoint(config: &Path, place: &Place) -> Result<Loaded, NnError> {
    let architecture = Architecture::of_file(config)?;
    let folder = config.parent().unwrap_or_else(|| Path::new("."));
    build(&architecture, &mut Checkpoint::open(folder, place)?)
}

fn read_gguf(path: &Path, place: &Place) -> Result<Loaded, NnError> {
    let mut gguf = Gguf::open(path, place)?;
    let architecture = gguf.architecture()?;
    build(&architecture, &mut gguf)
}

fn build(architecture: &Architecture, weights: &mut dyn Weights) -> Result<Loaded, NnError> {
    let network: Box<dyn Network> = match architecture {
        Architecture::Llama(config) => Box::new(Llama::read(config, weights)?),
        Architecture::Gpt2(config) => Box::new(Gpt2::read(config, weights)?),
    };
    Ok((network, architecture.extent(), weights.bytes()))
}

fn failed(error: candle_core::Error) -> NnError {
    NnError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
