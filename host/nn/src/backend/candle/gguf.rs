//! GGUF, the format of llama.cpp: metadata and tensors in one file, quantised or not. Tensors have llama.cpp's names; those
//! that are asked for have transformers'.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device as Place, Tensor};

use super::config::{Architecture, Bound, Extent, LlamaConfig, bounded, plain_frequencies};
use super::failed;
use super::layers::Weights;
use crate::error::NnError;

/// What turns frequencies where a context was extended: each is divided by its own factor.
const FACTORS: &str = "rope_freqs.weight";

/// A file.
pub(super) struct Gguf<R = BufReader<File>> {
    reader: R,
    content: Content,
    place: Place,
    bytes: u64,
}

fn unreadable(reason: impl std::fmt::Display) -> NnError {
    NnError::Unreadable(format!("GGUF: {reason}"))
}

impl Gguf {
    /// Reads a file's metadata, and no tensor.
    ///
    /// # Errors
    /// [`NnError::Unreadable`] says what is wrong with the file.
    pub(super) fn open(path: &Path, place: &Place) -> Result<Gguf, NnError> {
        let file = File::open(path).map_err(|error| unreadable(format!("{}: {error}", path.display())))?;
        let size = file.metadata().map_err(unreadable)?.len();
        Gguf::of(BufReader::new(file), size, place)
    }
}

impl<R: Read + Seek> Gguf<R> {
    /// Reads metadata of so many bytes.
    pub(super) fn of(mut reader: R, size: u64, place: &Place) -> Result<Gguf<R>, NnError> {
        let content = Content::read(&mut reader).map_err(unreadable)?;
        for (name, info) in &content.tensor_infos {
            lies_within(name, info, content.tensor_data_offset, size)?;
        }
        Ok(Gguf { reader, content, place: place.clone(), bytes: 0 })
    }

    /// What the metadata says about the model.
    ///
    /// # Errors
    /// [`NnError::Unreadable`] names the key, its value and what is supported.
    pub(super) fn architecture(&mut self) -> Result<Architecture, NnError> {
        let kind = match self.content.metadata.get("general.architecture") {
            Some(Value::String(kind)) => kind.clone(),
            _ => return Err(unreadable("general.architecture: it is missing")),
        };
        if !matches!(kind.as_str(), "llama" | "qwen2" | "qwen3") {
            let reason = format!("general.architecture: {kind:?}: it must be llama, qwen2 or qwen3");
            return Err(unreadable(reason));
        }
        let key = |name: &str| format!("{kind}.{name}");
        let hidden = self.count(&key("embedding_length"), Bound::Width)?;
        let heads = self.count(&key("attention.head_count"), Bound::Width)?;
        let optional = |gguf: &Self, name: &str, default: usize| match gguf.content.metadata.get(name) {
            Some(_) => gguf.count(name, Bound::Width),
            None => Ok(default),
        };
        let head = optional(self, &key("attention.key_length"), hidden / heads)?;
        let rotated = optional(self, &key("rope.dimension_count"), head)?;
        if rotated != head {
            let reason = format!("{}: {rotated}: it must be {head}", key("rope.dimension_count"));
            return Err(unreadable(reason));
        }
        let embedding = self.info("token_embd.weight")?.shape.dims().to_vec();
        let config = LlamaConfig {
            extent: Extent {
                vocabulary: bounded(
                    "token_embd.weight",
                    embedding.first().map_or(0, |size| *size as u64),
                    Bound::Tokens,
                )?,
                context: self.count(&key("context_length"), Bound::Tokens)?,
                layers: self.count(&key("block_count"), Bound::Layers)?,
                heads,
            },
            hidden,
            intermediate: self.count(&key("feed_forward_length"), Bound::Width)?,
            key_heads: optional(self, &key("attention.head_count_kv"), heads)?,
            head,
            epsilon: self.real(&key("attention.layer_norm_rms_epsilon"), 1e-6)? as f32,
            frequencies: Vec::new(),
            interleaved: kind == "llama",
            tied: false,
        };
        if let Some(Value::String(scaling)) = self.content.metadata.get(&key("rope.scaling.type"))
            && !matches!(scaling.as_str(), "none" | "linear")
        {
            let reason = format!("{}: {scaling:?}: it must be none or linear", key("rope.scaling.type"));
            return Err(unreadable(reason));
        }
        let theta = self.real(&key("rope.freq_base"), 10_000.0)?;
        let factor = self.real(&key("rope.scaling.factor"), 1.0)? as f32;
        let config = config.checked(|head| {
            let plain = plain_frequencies(theta, head);
            Ok(plain.into_iter().map(|frequency| frequency / factor).collect())
        })?;
        let config = match self.content.tensor_infos.contains_key(FACTORS) {
            true => self.divided(config)?,
            false => config,
        };
        Ok(Architecture::Llama(config))
    }

    fn divided(&mut self, mut config: LlamaConfig) -> Result<LlamaConfig, NnError> {
        let factors = self.quantized(FACTORS, &[config.head / 2])?;
        let factors = factors.dequantize(&Place::Cpu).and_then(|factors| factors.to_vec1::<f32>());
        for (frequency, factor) in config.frequencies.iter_mut().zip(factors.map_err(failed)?) {
            *frequency /= factor;
        }
        Ok(config)
    }

    fn count(&self, key: &str, bound: Bound) -> Result<usize, NnError> {
        let value = self.content.metadata.get(key);
        let value = value.ok_or_else(|| unreadable(format!("{key}: it is missing")))?;
        let number = match value {
            Value::U32(number) => u64::from(*number),
            Value::U64(number) => *number,
            Value::U16(number) => u64::from(*number),
            Value::I32(number) => u64::try_from(*number).unwrap_or(0),
            _ => return Err(unreadable(format!("{key}: it must be a whole number"))),
        };
        bounded(key, number, bound)
    }

    /// A positive real number.
    fn real(&self, key: &str, default: f64) -> Result<f64, NnError> {
        let Some(value) = self.content.metadata.get(key) else { return Ok(default) };
        let number = match value {
            Value::F32(number) => f64::from(*number),
            Value::F64(number) => *number,
            _ => f64::NAN,
        };
        match number.is_finite() && number > 0.0 {
            true => Ok(number),
            false => Err(unreadable(format!("{key}: it must be a number above 0"))),
        }
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, NnError> {
        let info = self.content.tensor_infos.get(name);
        info.ok_or_else(|| unreadable(format!("it has no tensor {name}")))
    }

    fn quantized(&mut self, name: &str, shape: &[usize]) -> Result<QTensor, NnError> {
        let info = self.info(name)?;
        if info.shape.dims() != shape {
            let found = info.shape.dims();
            return Err(unreadable(format!(
                "the tensor {name} has the shape {found:?}; by the metadata it must have {shape:?}"
            )));
        }
        let tensor = self.content.tensor(&mut self.reader, name, &self.place);
        tensor.map_err(|error| unreadable(format!("the tensor {name}: {error}")))
    }
}

impl<R> Gguf<R> {
    fn dequantized(&mut self, tensor: &QTensor) -> Result<Tensor, NnError> {
        let tensor = tensor.dequantize(&self.place).map_err(failed)?;
        self.bytes += (tensor.elem_count() * DType::F32.size_in_bytes()) as u64;
        Ok(tensor)
    }
}

/// Whether a tensor's bytes are in a file of so many.
fn lies_within(name: &str, info: &TensorInfo, data: u64, size: u64) -> Result<(), NnError> {
    let dimensions = info.shape.dims();
    let elements = dimensions.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let block = info.ggml_dtype.block_size();
    let bytes = elements
        .filter(|elements| elements.is_multiple_of(block))
        .and_then(|elements| (elements / block).checked_mul(info.ggml_dtype.type_size()))
        .and_then(|bytes| u64::try_from(bytes).ok());
    let end = bytes.and_then(|bytes| data.checked_add(info.offset)?.checked_add(bytes));
    match end {
        Some(end) if end <= size => Ok(()),
        _ => {
            Err(unreadable(format!("the tensor {name} of shape {dimensions:?} does not lie within the file")))
        }
    }
}

/// llama.cpp's name for a tensor of transformers.
fn renamed(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".to_owned(),
        "model.norm.weight" => return "output_norm.weight".to_owned(),
        "lm_head.weight" => return "output.weight".to_owned(),
        _ => {}
    }
    let parts = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    let Some((layer, part)) = parts else { return name.to_owned() };
    let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
    let part = match part {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => other,
    };
    format!("blk.{layer}.{part}.{kind}")
}

impl<R: Read + Seek> Weights for Gguf<R> {
    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(&renamed(name))
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, NnError> {
        let tensor = self.quantized(&renamed(name), shape)?;
        self.dequantized(&tensor)
    }

    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<QMatMul, NnError> {
        let tensor = self.quantized(&renamed(name), &[outputs, inputs])?;
        // Those that are not quantised are multiplied with as they are.
        let plain = matches!(tensor.dtype(), GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        if plain {
            return self.dequantized(&tensor).map(QMatMul::Tensor);
        }
        self.bytes += tensor.storage_size_in_bytes() as u64;
        QMatMul::from_qtensor(tensor).map_err(failed)
    }

    fn datatype(&self) -> DType {
        DType::F32
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use candle_core::Device as Place;
    use proptest::prelude::{any, proptest};

    use super::{Gguf, renamed};

    fn read(bytes: &[u8]) {
        if let Ok(mut gguf) = Gguf::of(Cursor::new(bytes), bytes.len() as u64, &Place::Cpu) {
            let _ = gguf.architecture();
        }
    }

    fn valid() -> Vec<u8> {
        std::fs::read("tests/fixtures/tiny-llama-q8_0.gguf").unwrap()
    }

    #[test]
    fn tensors_are_found_by_the_names_of_transformers() {
        assert_eq!(renamed("model.layers.11.self_attn.q_proj.bias"), "blk.11.attn_q.bias");
        assert_eq!(renamed("model.layers.0.mlp.down_proj.weight"), "blk.0.ffn_down.weight");
        assert_eq!(renamed("lm_head.weight"), "output.weight");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            read(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
        }

        #[test]
        fn no_changed_byte_makes_it_panic(changes in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..4),
            length in 0_usize..8192) {
            let mut bytes = valid();
            for (position, byte) in changes {
                bytes[position] = byte;
            }
            if length < 4096 {
                bytes.truncate(length);
            }
            read(&bytes);
        }
    }
}
