//! How the next token is chosen from logits, whichever backend computed them.
//!
//! Order of the rules: penalties, temperature, the likeliest `top_k`, the likeliest that together have `top_p`, a draw.

use std::collections::HashMap;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use crate::backend::{Sampling, Token};
use crate::error::NnError;

/// Chooses the tokens of one generation.
pub(crate) struct Sampler {
    temperature: f32,
    top_p: f32,
    top_k: usize,
    repetition: f32,
    frequency: f32,
    presence: f32,
    /// For each token of the prompt and the answer, how often it was generated.
    seen: HashMap<u32, u32>,
    random: ChaCha8Rng,
}

impl Sampler {
    /// For an answer to a prompt.
    ///
    /// # Errors
    /// A number is negative or none.
    pub(crate) fn new(prompt: &[u32], sampling: &Sampling) -> Result<Sampler, NnError> {
        for (name, value) in [
            ("temperature", sampling.temperature),
            ("top_p", sampling.top_p),
            ("repetition_penalty", sampling.repetition_penalty),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(NnError::Input(format!("{name}: {value}: it must be a number, 0 or above")));
            }
        }
        for (name, value) in [
            ("frequency_penalty", sampling.frequency_penalty),
            ("presence_penalty", sampling.presence_penalty),
        ] {
            if !value.is_finite() {
                return Err(NnError::Input(format!("{name}: {value}: it must be a number")));
            }
        }
        Ok(Sampler {
            temperature: sampling.temperature,
            top_p: if sampling.top_p == 0.0 { 1.0 } else { sampling.top_p },
            top_k: if sampling.top_k == 0 { usize::MAX } else { sampling.top_k as usize },
            repetition: if sampling.repetition_penalty == 0.0 { 1.0 } else { sampling.repetition_penalty },
            frequency: sampling.frequency_penalty,
            presence: sampling.presence_penalty,
            seen: prompt.iter().map(|token| (*token, 0)).collect(),
            random: ChaCha8Rng::seed_from_u64(sampling.seed),
        })
    }

    /// The next token, by the logits of all.
    ///
    /// # Errors
    /// The logits are not numbers.
    pub(crate) fn choose(&mut self, mut logits: Vec<f32>) -> Result<Token, NnError> {
        let Some(largest) = logits.iter().copied().reduce(f32::max) else {
            return Err(NnError::Failed("the model has an empty vocabulary".to_owned()));
        };
        // The sum is in double precision: a vocabulary has more tokens than single precision has steps at its end.
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
        if !sum.is_finite() {
            return Err(NnError::Failed("the model's logits are not numbers".to_owned()));
        }
        let plain = |logit: f32| (f64::from(logit - largest) - sum.ln()) as f32;
        let penalised = self.penalised(&mut logits);
        let id = match self.temperature {
            0.0 => likeliest(&logits),
            temperature => self.draw(&logits, temperature),
        };
        let unchanged = penalised.iter().find(|(token, _)| *token as usize == id).map(|(_, logit)| *logit);
        let logprob = plain(unchanged.unwrap_or(logits[id]));
        // A vocabulary has fewer than 2^32 tokens: its size is bounded where it is read.
        let id = id as u32;
        *self.seen.entry(id).or_default() += 1;
        Ok(Token { id, logprob })
    }

    /// Applies the penalties, and gives what the changed logits were.
    fn penalised(&self, logits: &mut [f32]) -> Vec<(u32, f32)> {
        if self.repetition == 1.0 && self.frequency == 0.0 && self.presence == 0.0 {
            return Vec::new();
        }
        let mut before = Vec::with_capacity(self.seen.len());
        for (token, count) in &self.seen {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            before.push((*token, *logit));
            *logit = if *logit > 0.0 { *logit / self.repetition } else { *logit * self.repetition };
            if *count > 0 {
                *logit -= self.presence + self.frequency * *count as f32;
            }
        }
        before
    }

    fn draw(&mut self, logits: &[f32], temperature: f32) -> usize {
        let descending =
            |one: &usize, other: &usize| logits[*other].total_cmp(&logits[*one]).then(one.cmp(other));
        let mut candidates: Vec<usize> = (0..logits.len()).collect();
        if self.top_k < candidates.len() {
            candidates.select_nth_unstable_by(self.top_k - 1, descending);
            candidates.truncate(self.top_k);
        }
        if self.top_p < 1.0 {
            candidates.sort_unstable_by(descending);
        }
        let largest = candidates.iter().map(|token| logits[*token]).fold(f32::NEG_INFINITY, f32::max);
        let weight = |token: &usize| (f64::from(logits[*token] - largest) / f64::from(temperature)).exp();
        let mut weights: Vec<f64> = candidates.iter().map(weight).collect();
        if self.top_p < 1.0 {
            let enough = weights.iter().sum::<f64>() * f64::from(self.top_p);
            let mut together = 0.0;
            let kept = weights.iter().position(|weight| {
                together += weight;
                together >= enough
            });
            weights.truncate(kept.map_or(weights.len(), |last| last + 1));
        }
        let mut point = self.random.random::<f64>() * weights.iter().sum::<f64>();
        for (token, weight) in candidates.iter().zip(&weights) {
            point -= weight;
            if point < 0.0 {
                return *token;
            }
        }
        // Rounding may leave a little behind the last one.
        likeliest(logits)
    }
}

/// The first of the largest.
fn likeliest(logits: &[f32]) -> usize {
    let better = |best: usize, token: usize| if logits[token] > logits[best] { token } else { best };
    (0..logits.len()).reduce(better).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::Sampler;
    use crate::backend::Sampling;

    fn greedy() -> Sampling {
        Sampling::default()
    }

    fn tokens(sampling: &Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(&[], sampling).unwrap();
        (0..count).map(|_| sampler.choose(logits.to_vec()).unwrap().id).collect()
    }

    #[test]
    fn without_temperature_the_likeliest_comes() {
        assert_eq!(tokens(&greedy(), &[0.5, 2.0, 2.0, -1.0], 3), [1, 1, 1]);
        let mut sampler = Sampler::new(&[], &greedy()).unwrap();
        let token = sampler.choose(vec![1.0_f32.ln(), 3.0_f32.ln()]).unwrap();
        assert!((token.logprob - 0.75_f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn penalties_make_what_occurred_less_likely() {
        let logits = [1.0, 0.9, 0.8];
        assert_eq!(tokens(&Sampling { presence_penalty: 0.15, ..greedy() }, &logits, 4), [0, 1, 0, 0]);
        assert_eq!(tokens(&Sampling { frequency_penalty: 0.15, ..greedy() }, &logits, 5), [0, 1, 0, 2, 1]);
        let repetition = Sampling { repetition_penalty: 2.0, ..greedy() };
        let mut sampler = Sampler::new(&[0], &repetition).unwrap();
        let token = sampler.choose(logits.to_vec()).unwrap();
        assert_eq!(token.id, 1, "the prompt counts");
        let sum: f32 = logits.iter().map(|logit: &f32| logit.exp()).sum();
        assert!((token.logprob - (0.9 - sum.ln())).abs() < 1e-6, "the probability is that before the rules");
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let drawn = tokens(&Sampling { temperature: 1.0, seed: 7, ..greedy() }, &logits, 20_000);
        for (token, probability) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
            let share = drawn.iter().filter(|drawn| **drawn == token).count() as f64 / 20_000.0;
            assert!((share - probability).abs() < 0.015, "{token}: {share}");
        }
        let drawn = tokens(&Sampling { temperature: 1.0, top_p: 0.7, ..greedy() }, &logits, 2_000);
        assert!(drawn.iter().all(|token| *token < 2) && drawn.contains(&1));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for sampling in [
            Sampling { temperature: f32::NAN, ..greedy() },
            Sampling { top_p: -0.5, ..greedy() },
            Sampling { presence_penalty: f32::INFINITY, ..greedy() },
        ] {
            assert!(Sampler::new(&[], &sampling).is_err(), "{sampling:?}");
        }
        let mut sampler = Sampler::new(&[], &greedy()).unwrap();
        for logits in [vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![f32::NEG_INFINITY; 2], Vec::new()]
        {
            assert!(sampler.choose(logits.clone()).is_err(), "{logits:?}");
        }
    }

    proptest! {
        #[test]
        fn a_seed_gives_the_same_tokens(
            logits in proptest::collection::vec(-50.0_f32..50.0, 1..40), seed: u64, temperature in 0.0_f32..3.0,
            top_p in 0.0_f32..1.0, top_k in 0_u32..50,
        ) {
            let sampling = Sampling { temperature, top_p, top_k, seed, ..greedy() };
            let drawn = tokens(&sampling, &logits, 8);
            prop_assert_eq!(&drawn, &tokens(&sampling, &logits, 8));
            prop_assert!(drawn.iter().all(|token| (*token as usize) < logits.len()));
        }

        #[test]
        fn only_the_likeliest_are_drawn(
            logits in proptest::collection::vec(-5.0_f32..5.0, 1..40), top_k in 1_u32..50, seed: u64,
        ) {
            let sampling = Sampling { temperature: 1.5, top_k, seed, ..greedy() };
            for token in tokens(&sampling, &logits, 8) {
                let better = logits.iter().filter(|logit| **logit > logits[token as usize]).count();
                prop_assert!(better < top_k as usize);
            }
        }

        #[test]
        fn no_logits_make_it_panic(logits: Vec<f32>, temperature in any::<f32>(), top_p in any::<f32>(), top_k: u32) {
            let sampling = Sampling { temperature, top_p, top_k, repetition_penalty: 1.1, ..greedy() };
            if let Ok(mut sampler) = Sampler::new(&[0, 3], &sampling) {
                let _ = sampler.choose(logits);
            }
        }
    }
}
