//! Attention of new tokens to all before them, and the cache of the latter's keys and values.

use candle_core::{DType, Device as Place, Result, Tensor};

/// The least number of tokens that a cache is made for.
const LEAST_CAPACITY: usize = 64;

/// Keys and values of the tokens so far, in one layer: `[heads, tokens, elements]` each.
#[derive(Default)]
pub(super) struct Cache {
    keys: Option<Tensor>,
    values: Option<Tensor>,
    length: usize,
}

impl Cache {
    /// Takes in the keys and values of new tokens, and gives those of all so far.
    fn extend(&mut self, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let length = self.length + keys.dim(1)?;
        let keys = put(&mut self.keys, keys, self.length)?;
        let values = put(&mut self.values, values, self.length)?;
        self.length = length;
        Ok((keys, values))
    }
}

/// Writes `new` behind the first `length` tokens of the store, which doubles when it is full. Gives all that is in it.
fn put(store: &mut Option<Tensor>, new: &Tensor, length: usize) -> Result<Tensor> {
    let (heads, added, elements) = new.dims3()?;
    let needed = length + added;
    let full = match store {
        Some(store) if store.dim(1)? >= needed => store.clone(),
        _ => {
            let capacity = needed.next_power_of_two().max(LEAST_CAPACITY);
            let larger = Tensor::zeros((heads, capacity, elements), new.dtype(), new.device())?;
            if let Some(smaller) = store.take() {
                larger.slice_set(&smaller.narrow(1, 0, length)?.contiguous()?, 1, 0)?;
            }
            store.insert(larger).clone()
        }
    };
    full.slice_set(&new.contiguous()?, 1, length)?;
    full.narrow(1, 0, needed)
}

/// `[tokens, heads * elements]` to `[heads, tokens, elements]`.
pub(super) fn split_heads(activations: &Tensor, heads: usize) -> Result<Tensor> {
    let (tokens, width) = activations.dims2()?;
    activations.reshape((tokens, heads, width / heads))?.transpose(0, 1)?.contiguous()
}

/// What each new token takes from those that it may see: itself and all before it. Takes queries of
/// `[heads, tokens, elements]`, keys and values of `[key heads, tokens, elements]`; gives `[tokens, heads * elements]`.
/// Heads share those of keys and values in runs of equal length.
pub(super) fn attend(queries: &Tensor, keys: &Tensor, values: &Tensor, cache: &mut Cache) -> Result<Tensor> {
    let (heads, tokens, elements) = queries.dims3()?;
    let before = cache.length;
    let (keys, values) = cache.extend(keys, values)?;
    let (key_heads, total, _) = keys.dims3()?;
    let shared = heads / key_heads;
    let scale = 1.0 / (elements as f64).sqrt();
    let queries = (queries.reshape((key_heads, shared * tokens, elements))? * scale)?;
    let mut scores = queries.matmul(&keys.transpose(1, 2)?)?;
    if tokens > 1 {
        let mask = mask(tokens, before, scores.dtype(), scores.device())?;
        scores = scores.reshape((key_heads * shared, tokens, total))?.broadcast_add(&mask)?;
        scores = scores.reshape((key_heads, shared * tokens, total))?;
    }
    let taken = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&values)?;
    taken.reshape((heads, tokens, elements))?.transpose(0, 1)?.reshape((tokens, heads * elements))
}

/// 0 where a token may see another, minus infinity where that comes later: `[tokens, before + tokens]`.
fn mask(tokens: usize, before: usize, datatype: DType, place: &Place) -> Result<Tensor> {
    let total = before + tokens;
    let mut values = vec![0_f32; tokens * total];
    for (token, row) in values.chunks_exact_mut(total).enumerate() {
        row[before + token + 1..].fill(f32::NEG_INFINITY);
    }
    Tensor::from_vec(values, (tokens, total), place)?.to_dtype(datatype)
}
