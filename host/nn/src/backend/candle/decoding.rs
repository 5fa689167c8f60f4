//! Generations: a model with its threads, and one sequence of tokens that goes on.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device as Place;

use super::attention::Cache;
use super::config::Extent;
use super::{Network, failed};
use crate::backend::sampler::Sampler;
use crate::backend::{Decoding, LanguageModel, Sampling, Token};
use crate::error::NnError;

/// Of a prompt, so many tokens are computed at once at most.
const MOST_AT_ONCE: usize = 512;

/// Attention's scores of so many elements are held at once, about.
const SCORES: usize = 1 << 24;

/// Where one model's computations run.
pub(super) enum Pool {
    /// On the threads of the process.
    Shared,
    /// On threads of the model's own.
    Own(rayon::ThreadPool),
    /// On a graphics processor, one after the other, whichever model they are of. Candle gives each thread a stream, and all
    /// of them the same memory for intermediate results of quantised products and of cuBLAS: two at once would overwrite
    /// what the other has there. That is no loss: a step of a generation is over when it has been given to the device.
    Device(Place),
}

/// Held by who computes on a graphics processor.
static TURN: Mutex<()> = Mutex::new(());

impl Pool {
    /// For computations on `place`; on the processor, with so many threads, or 0 for the process's own.
    pub(super) fn new(threads: usize, place: &Place) -> Result<Pool, NnError> {
        if !place.is_cpu() {
            return Ok(Pool::Device(place.clone()));
        }
        if threads == 0 {
            return Ok(Pool::Shared);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| NnError::Failed(format!("no threads could be started: {error}")))?;
        Ok(Pool::Own(pool))
    }

    /// Computes. What it gave to a device is complete when this returns, so that other threads may use it.
    pub(super) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NnError> + Send,
    ) -> Result<T, NnError> {
        match self {
            Pool::Shared => work(),
            Pool::Own(pool) => pool.install(work),
            Pool::Device(place) => {
                let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
                let result = work();
                let complete = place.synchronize().map_err(failed);
                result.and_then(|value| complete.map(|()| value))
            }
        }
    }
}

/// A loaded model.
pub(super) struct CandleModel {
    shared: Arc<Shared>,
}

struct Shared {
    network: Box<dyn Network>,
    extent: Extent,
    bytes: u64,
    pool: Pool,
}

impl CandleModel {
    /// A network of some size, whose weights take so many bytes, computed by some threads.
    pub(super) fn new(network: Box<dyn Network>, extent: Extent, bytes: u64, pool: Pool) -> CandleModel {
        CandleModel { shared: Arc::new(Shared { network, extent, bytes, pool }) }
    }

    /// A sequence without tokens.
    pub(super) fn sequence(&self) -> Sequence {
        let caches = (0..self.shared.extent.layers).map(|_| Cache::default()).collect();
        Sequence { shared: self.shared.clone(), caches, length: 0 }
    }
}

impl LanguageModel for CandleModel {
    fn context_length(&self) -> usize {
        self.shared.extent.context
    }

    fn vocabulary(&self) -> usize {
        self.shared.extent.vocabulary
    }

    fn memory(&self) -> u64 {
        self.shared.bytes
    }

    fn start(&self, prompt: &[u32], sampling: Sampling) -> Result<Box<dyn Decoding>, NnError> {
        let Extent { context, vocabulary, .. } = self.shared.extent;
        if prompt.is_empty() {
            return Err(NnError::Input("the prompt has no tokens".to_owned()));
        }
        if prompt.len() >= context {
            let tokens = prompt.len();
            return Err(NnError::Input(format!(
                "the prompt has {tokens} tokens; the model's context has room for {context} with the answer"
            )));
        }
        if let Some(token) = prompt.iter().find(|token| **token as usize >= vocabulary) {
            return Err(NnError::Input(format!("the token {token} is not among the model's {vocabulary}")));
        }
        let room = context - prompt.len();
        let wanted = match sampling.max_tokens {
            0 => room,
            limit => room.min(limit as usize),
        };
        Ok(Box::new(CandleDecoding {
            sequence: self.sequence(),
            sampler: Sampler::new(prompt, &sampling)?,
            stop: sampling.stop,
            next: prompt.to_vec(),
            left: wanted,
        }))
    }
}

/// Tokens so far, as far as a network has computed them.
pub(super) struct Sequence {
    shared: Arc<Shared>,
    caches: Vec<Cache>,
    length: usize,
}

impl Sequence {
    /// Goes on with tokens, and gives the logits behind the last one. There is at least one.
    pub(super) fn extend(&mut self, tokens: &[u32]) -> Result<Vec<f32>, NnError> {
        let Sequence { shared, caches, length } = self;
        shared.pool.run(|| {
            let (mut rest, mut logits) = (tokens, None);
            while !rest.is_empty() {
                // The longer the sequence, the fewer tokens: what attention holds stays about the same.
                let fits = SCORES / (shared.extent.heads * (*length + MOST_AT_ONCE));
                let (piece, behind) = rest.split_at(rest.len().min(fits.clamp(1, MOST_AT_ONCE)));
                logits = Some(shared.network.forward(piece, *length, caches).map_err(failed)?);
                (*length, rest) = (*length + piece.len(), behind);
            }
            let logits = logits.map(|logits| logits.to_vec1::<f32>()).transpose().map_err(failed)?;
            Ok(logits.unwrap_or_default())
        })
    }
}

struct CandleDecoding {
    sequence: Sequence,
    sampler: Sampler,
    stop: Vec<u32>,
    /// Tokens that are not computed yet: the prompt, then the token that was given last.
    next: Vec<u32>,
    /// Tokens that may still be given.
    left: usize,
}

impl Decoding for CandleDecoding {
    fn next(&mut self) -> Result<Option<Token>, NnError> {
        if self.left == 0 {
            return Ok(None);
        }
        // After an error nothing comes any more: the caches may have taken in some of the tokens.
        let left = std::mem::take(&mut self.left);
        let logits = self.sequence.extend(&self.next)?;
        let token = self.sampler.choose(logits)?;
        if self.stop.contains(&token.id) {
            return Ok(None);
        }
        self.left = left - 1;
        self.next = vec![token.id];
        Ok(Some(token))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use candle_core::Device as Place;

    use super::Pool;
    use crate::error::NnError;

    #[test]
    fn on_a_device_there_is_one_computation_at_a_time() {
        let busy = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Each as another model would.
                    let pool = Pool::Device(Place::Cpu);
                    for _ in 0..20 {
                        let alone = pool.run(|| {
                            let alone = !busy.swap(true, Ordering::SeqCst);
                            std::thread::sleep(Duration::from_micros(100));
                            busy.store(false, Ordering::SeqCst);
                            Ok(alone)
                        });
                        assert!(alone.unwrap());
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_does_not_keep_the_device() {
        let pool = Pool::Device(Place::Cpu);
        let panicking = || pool.run(|| -> Result<(), NnError> { panic!("on purpose") });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).is_err());
        assert_eq!(pool.run(|| Ok(3)).unwrap(), 3);
    }
}
