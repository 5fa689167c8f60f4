//! Llama and its relatives: RMS norms, rotated queries and keys, heads that share keys, a gated perceptron. Mistral and
//! Qwen 2 differ by biases, Qwen 3 by norms of queries and keys; what the files have is used.

use candle_core::quantized::QMatMul;
use candle_core::{DType, Device as Place, Result, Tensor};

use super::Network;
use super::attention::{Cache, attend, split_heads};
use super::config::LlamaConfig;
use super::layers::{Linear, RmsNorm, Weights, logits, rows};
use crate::error::NnError;

/// A Llama.
pub(super) struct Llama {
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    rotation: Rotation,
}

struct Block {
    before_attention: RmsNorm,
    queries: Linear,
    keys: Linear,
    values: Linear,
    /// Norms of single queries and keys.
    each: Option<(RmsNorm, RmsNorm)>,
    output: Linear,
    before_perceptron: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    heads: usize,
    key_heads: usize,
}

/// How positions turn queries and keys.
struct Rotation {
    frequencies: Vec<f32>,
    interleaved: bool,
    datatype: DType,
    place: Place,
}

/// The cosines and sines of the positions of some tokens: `[tokens, elements / 2]` each.
struct Angles {
    cosines: Tensor,
    sines: Tensor,
}

impl Llama {
    /// From a model's tensors, by their names in transformers.
    pub(super) fn read(
        config: &LlamaConfig,
        weights: &mut dyn Weights,
    ) -> std::result::Result<Llama, NnError> {
        let (hidden, vocabulary) = (config.hidden, config.extent.vocabulary);
        let embedding = weights.tensor("model.embed_tokens.weight", &[vocabulary, hidden])?;
        let tied = config.tied || !weights.has("lm_head.weight");
        let head = match tied {
            true => Linear::new(QMatMul::Tensor(embedding.clone()), None),
            false => Linear::read(weights, "lm_head", vocabulary, hidden)?,
        };
        let blocks = (0..config.extent.layers).map(|layer| Block::read(config, weights, layer));
        Ok(Llama {
            blocks: blocks.collect::<std::result::Result<_, _>>()?,
            norm: RmsNorm::read(weights, "model.norm.weight", hidden, config.epsilon)?,
            embedding,
            head,
            rotation: Rotation {
                frequencies: config.frequencies.clone(),
                interleaved: config.interleaved,
                datatype: weights.datatype(),
                place: weights.place().clone(),
            },
        })
    }
}

impl Network for Llama {
    fn forward(&self, tokens: &[u32], position: usize, caches: &mut [Cache]) -> Result<Tensor> {
        let angles = self.rotation.angles(position, tokens.len())?;
        let mut activations = rows(&self.embedding, tokens)?;
        for (block, cache) in self.blocks.iter().zip(caches) {
            activations = block.forward(&activations, &angles, &self.rotation, cache)?;
        }
        logits(&self.norm.forward(&activations)?, &self.head)
    }
}

impl Block {
    fn read(
        config: &LlamaConfig,
        weights: &mut dyn Weights,
        layer: usize,
    ) -> std::result::Result<Block, NnError> {
        let (hidden, inner, epsilon) = (config.hidden, config.intermediate, config.epsilon);
        let width = config.extent.heads * config.head;
        let key_width = config.key_heads * config.head;
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let norm = |weights: &mut dyn Weights, part: &str, size: usize| {
            RmsNorm::read(weights, &name(&format!("{part}.weight")), size, epsilon)
        };
        let each = match weights.has(&name("self_attn.q_norm.weight")) {
            true => Some((
                norm(weights, "self_attn.q_norm", config.head)?,
                norm(weights, "self_attn.k_norm", config.head)?,
            )),
            false => None,
        };
        Ok(Block {
            before_attention: norm(weights, "input_layernorm", hidden)?,
            queries: Linear::read(weights, &name("self_attn.q_proj"), width, hidden)?,
            keys: Linear::read(weights, &name("self_attn.k_proj"), key_width, hidden)?,
            values: Linear::read(weights, &name("self_attn.v_proj"), key_width, hidden)?,
            each,
            output: Linear::read(weights, &name("self_attn.o_proj"), hidden, width)?,
            before_perceptron: norm(weights, "post_attention_layernorm", hidden)?,
            gate: Linear::read(weights, &name("mlp.gate_proj"), inner, hidden)?,
            up: Linear::read(weights, &name("mlp.up_proj"), inner, hidden)?,
            down: Linear::read(weights, &name("mlp.down_proj"), hidden, inner)?,
            heads: config.extent.heads,
            key_heads: config.key_heads,
        })
    }

    fn forward(
        &self,
        activations: &Tensor,
        angles: &Angles,
        rotation: &Rotation,
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let normed = self.before_attention.forward(activations)?;
        let mut queries = split_heads(&self.queries.forward(&normed)?, self.heads)?;
        let mut keys = split_heads(&self.keys.forward(&normed)?, self.key_heads)?;
        let values = split_heads(&self.values.forward(&normed)?, self.key_heads)?;
        if let Some((of_queries, of_keys)) = &self.each {
            (queries, keys) = (of_queries.forward(&queries)?, of_keys.forward(&keys)?);
        }
        let (queries, keys) = (rotation.turn(&queries, angles)?, rotation.turn(&keys, angles)?);
        let attended = attend(&queries, &keys, &values, cache)?;
        let activations = (activations + self.output.forward(&attended)?)?;
        let normed = self.before_perceptron.forward(&activations)?;
        let gated = (self.gate.forward(&normed)?.silu()? * self.up.forward(&normed)?)?;
        activations + self.down.forward(&gated)?
    }
}

impl Rotation {
    fn angles(&self, position: usize, tokens: usize) -> Result<Angles> {
        let pairs = self.frequencies.len();
        let angles = |token: usize| self.frequencies.iter().map(move |turn| (position + token) as f32 * turn);
        let all: Vec<f32> = (0..tokens).flat_map(angles).collect();
        let angles = Tensor::from_vec(all, (tokens, pairs), &self.place)?;
        Ok(Angles {
            cosines: angles.cos()?.to_dtype(self.datatype)?,
            sines: angles.sin()?.to_dtype(self.datatype)?,
        })
    }

    /// `[heads, tokens, elements]`, turned.
    fn turn(&self, heads: &Tensor, angles: &Angles) -> Result<Tensor> {
        let batch = heads.unsqueeze(0)?;
        let turned = match self.interleaved {
            true => candle_nn::rotary_emb::rope_i(&batch, &angles.cosines, &angles.sines)?,
            false => candle_nn::rotary_emb::rope(&batch, &angles.cosines, &angles.sines)?,
        };
        turned.squeeze(0)
    }
}
