//! What networks are made of, and where their weights come from. Activations have two dimensions: tokens and elements.

use candle_core::quantized::QMatMul;
use candle_core::{DType, Device as Place, Module as _, Result, Tensor};

use crate::error::NnError;

/// The tensors of a model's files.
pub(super) trait Weights {
    /// Whether there is such a tensor.
    fn has(&self, name: &str) -> bool;

    /// A tensor for elementwise work, of [`Weights::datatype`].
    ///
    /// # Errors
    /// It is missing or has another shape.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> std::result::Result<Tensor, NnError>;

    /// A matrix to multiply with, quantised where the file has it so.
    ///
    /// # Errors
    /// It is missing or has another shape.
    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> std::result::Result<QMatMul, NnError>;

    /// The type of activations.
    fn datatype(&self) -> DType;

    /// Where activations lie.
    fn place(&self) -> &Place;

    /// Of all tensors that were given.
    fn bytes(&self) -> u64;
}

/// A tensor where the model has one.
pub(super) fn optional(
    weights: &mut dyn Weights,
    name: &str,
    shape: &[usize],
) -> std::result::Result<Option<Tensor>, NnError> {
    if weights.has(name) { weights.tensor(name, shape).map(Some) } else { Ok(None) }
}

/// A matrix product, and a sum where there is a bias.
pub(super) struct Linear {
    matrix: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// With these.
    pub(super) fn new(matrix: QMatMul, bias: Option<Tensor>) -> Linear {
        Linear { matrix, bias }
    }

    /// `NAME.weight`, and `NAME.bias` where the model has it.
    pub(super) fn read(
        weights: &mut dyn Weights,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> std::result::Result<Linear, NnError> {
        let matrix = weights.matrix(&format!("{name}.weight"), outputs, inputs)?;
        let bias = optional(weights, &format!("{name}.bias"), &[outputs])?;
        Ok(Linear { matrix, bias })
    }

    /// `[tokens, inputs]` to `[tokens, outputs]`.
    pub(super) fn forward(&self, activations: &Tensor) -> Result<Tensor> {
        let product = self.matrix.forward(activations)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

/// Division by the root of the mean square.
pub(super) struct RmsNorm {
    weight: Tensor,
    epsilon: f32,
}

impl RmsNorm {
    /// The tensor `name`.
    pub(super) fn read(
        weights: &mut dyn Weights,
        name: &str,
        size: usize,
        epsilon: f32,
    ) -> std::result::Result<RmsNorm, NnError> {
        Ok(RmsNorm { weight: weights.tensor(name, &[size])?, epsilon })
    }

    /// Over the last dimension.
    pub(super) fn forward(&self, activations: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(activations, &self.weight, self.epsilon)
    }
}

/// Mean 0 and variance 1, scaled and shifted.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    /// `NAME.weight` and `NAME.bias`.
    pub(super) fn read(
        weights: &mut dyn Weights,
        name: &str,
        size: usize,
        epsilon: f32,
    ) -> std::result::Result<LayerNorm, NnError> {
        let weight = weights.tensor(&format!("{name}.weight"), &[size])?;
        let bias = weights.tensor(&format!("{name}.bias"), &[size])?;
        Ok(LayerNorm { weight, bias, epsilon })
    }

    /// Over the last dimension.
    pub(super) fn forward(&self, activations: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm(activations, &self.weight, &self.bias, self.epsilon)
    }
}

/// The rows of a table for some tokens: `[tokens, elements]`.
pub(super) fn rows(table: &Tensor, tokens: &[u32]) -> Result<Tensor> {
    table.index_select(&Tensor::new(tokens, table.device())?, 0)
}

/// The logits behind the last token, of activations of all tokens.
pub(super) fn logits(activations: &Tensor, head: &Linear) -> Result<Tensor> {
    let last = activations.narrow(0, activations.dim(0)? - 1, 1)?.contiguous()?;
    head.forward(&last)?.flatten_all()?.to_dtype(DType::F32)
}
