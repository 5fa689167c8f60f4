//! GPT-2: layer norms with biases, learned positions, a perceptron with GELU by tanh.

use candle_core::quantized::QMatMul;
use candle_core::{Result, Tensor};

use super::Network;
use super::attention::{Cache, attend, split_heads};
use super::config::Gpt2Config;
use super::failed;
use super::layers::{LayerNorm, Linear, Weights, logits, rows};
use crate::error::NnError;

/// A GPT-2.
pub(super) struct Gpt2 {
    embedding: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

struct Block {
    before_attention: LayerNorm,
    /// Queries, keys and values in one product.
    all_three: Linear,
    output: Linear,
    before_perceptron: LayerNorm,
    up: Linear,
    down: Linear,
    heads: usize,
}

impl Gpt2 {
    /// From a model's tensors, by their names in transformers, with or without `transformer.` before them.
    pub(super) fn read(config: &Gpt2Config, weights: &mut dyn Weights) -> std::result::Result<Gpt2, NnError> {
        let (hidden, extent) = (config.hidden, config.extent);
        let prefix = if weights.has("wte.weight") { "" } else { "transformer." };
        let name = |part: &str| format!("{prefix}{part}");
        let embedding = weights.tensor(&name("wte.weight"), &[extent.vocabulary, hidden])?;
        let head = match weights.has("lm_head.weight") {
            true => Linear::read(weights, "lm_head", extent.vocabulary, hidden)?,
            false => Linear::new(QMatMul::Tensor(embedding.clone()), None),
        };
        let blocks =
            (0..extent.layers).map(|layer| Block::read(config, weights, &name(&format!("h.{layer}"))));
        Ok(Gpt2 {
            blocks: blocks.collect::<std::result::Result<_, _>>()?,
            positions: weights.tensor(&name("wpe.weight"), &[extent.context, hidden])?,
            norm: LayerNorm::read(weights, &name("ln_f"), hidden, config.epsilon)?,
            embedding,
            head,
        })
    }
}

impl Network for Gpt2 {
    fn forward(&self, tokens: &[u32], position: usize, caches: &mut [Cache]) -> Result<Tensor> {
        let positions = self.positions.narrow(0, position, tokens.len())?;
        let mut activations = (rows(&self.embedding, tokens)? + positions)?;
        for (block, cache) in self.blocks.iter().zip(caches) {
            activations = block.forward(&activations, cache)?;
        }
        logits(&self.norm.forward(&activations)?, &self.head)
    }
}

impl Block {
    fn read(
        config: &Gpt2Config,
        weights: &mut dyn Weights,
        name: &str,
    ) -> std::result::Result<Block, NnError> {
        let (hidden, inner, epsilon) = (config.hidden, config.intermediate, config.epsilon);
        Ok(Block {
            before_attention: LayerNorm::read(weights, &format!("{name}.ln_1"), hidden, epsilon)?,
            all_three: transposed(weights, &format!("{name}.attn.c_attn"), 3 * hidden, hidden)?,
            output: transposed(weights, &format!("{name}.attn.c_proj"), hidden, hidden)?,
            before_perceptron: LayerNorm::read(weights, &format!("{name}.ln_2"), hidden, epsilon)?,
            up: transposed(weights, &format!("{name}.mlp.c_fc"), inner, hidden)?,
            down: transposed(weights, &format!("{name}.mlp.c_proj"), hidden, inner)?,
            heads: config.extent.heads,
        })
    }

    fn forward(&self, activations: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        let all = self.all_three.forward(&self.before_attention.forward(activations)?)?;
        let hidden = all.dim(1)? / 3;
        let part = |index: usize| split_heads(&all.narrow(1, index * hidden, hidden)?, self.heads);
        let attended = attend(&part(0)?, &part(1)?, &part(2)?, cache)?;
        let activations = (activations + self.output.forward(&attended)?)?;
        let up = self.up.forward(&self.before_perceptron.forward(&activations)?)?;
        activations + self.down.forward(&up.gelu()?)?
    }
}

/// GPT-2's matrices have inputs before outputs.
fn transposed(
    weights: &mut dyn Weights,
    name: &str,
    outputs: usize,
    inputs: usize,
) -> std::result::Result<Linear, NnError> {
    let matrix = weights.tensor(&format!("{name}.weight"), &[inputs, outputs])?;
    let matrix = matrix.t().and_then(|matrix| matrix.contiguous()).map_err(failed)?;
    let bias = weights.tensor(&format!("{name}.bias"), &[outputs])?;
    Ok(Linear::new(QMatMul::Tensor(matrix), Some(bias)))
}
