//! One vector of the vectors of a text's tokens, as sentence-transformers' modules Pooling and Normalize make it.

use serde::Deserialize;

/// What `1_Pooling/config.json` says. Several ways may be chosen; their vectors are put one behind the other.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
    /// Newer versions name one way.
    pooling_mode: Option<String>,
}

/// A way to make one vector of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The first token's.
    First,
    /// The largest of each element.
    Largest,
    /// The mean.
    Mean,
    /// The sum divided by the root of the count.
    RootMean,
    /// The mean, in which later tokens weigh more.
    WeightedMean,
    /// The last token's.
    Last,
}

impl PoolingConfig {
    /// The ways that are chosen, in the order of their vectors.
    ///
    /// # Errors
    /// A way that is not known, or none.
    pub(crate) fn ways(&self) -> Result<Vec<Pooling>, String> {
        if let Some(name) = &self.pooling_mode {
            return match name.as_str() {
                "cls" => Ok(vec![Pooling::First]),
                "mean" => Ok(vec![Pooling::Mean]),
                "max" => Ok(vec![Pooling::Largest]),
                "mean_sqrt_len_tokens" => Ok(vec![Pooling::RootMean]),
                "weightedmean" => Ok(vec![Pooling::WeightedMean]),
                "lasttoken" => Ok(vec![Pooling::Last]),
                other => Err(format!(
                    "pooling_mode: {other:?}: it must be cls, mean, max, mean_sqrt_len_tokens, weightedmean or lasttoken"
                )),
            };
        }
        let ways = [
            (self.pooling_mode_cls_token, Pooling::First),
            (self.pooling_mode_max_tokens, Pooling::Largest),
            (self.pooling_mode_mean_tokens, Pooling::Mean),
            (self.pooling_mode_mean_sqrt_len_tokens, Pooling::RootMean),
            (self.pooling_mode_weightedmean_tokens, Pooling::WeightedMean),
            (self.pooling_mode_lasttoken, Pooling::Last),
        ];
        let chosen: Vec<_> = ways.into_iter().filter_map(|(chosen, way)| chosen.then_some(way)).collect();
        if chosen.is_empty() {
            Err("it chooses no way: set pooling_mode_mean_tokens".to_owned())
        } else {
            Ok(chosen)
        }
    }
}

impl Pooling {
    /// Writes the vector of a text, of `pooled.len()` elements, whose tokens' vectors lie one behind the other: little-endian
    /// FP32, as the host has them. There is at least one token.
    pub(crate) fn pool(self, tokens: &[[u8; 4]], pooled: &mut [f32]) {
        let width = pooled.len();
        let vectors = tokens.chunks_exact(width);
        let count = vectors.len() as f32;
        let put = |vector: &[[u8; 4]], pooled: &mut [f32]| {
            for (sum, element) in pooled.iter_mut().zip(vector) {
                *sum = f32::from_le_bytes(*element);
            }
        };
        match self {
            Pooling::First => vectors.take(1).for_each(|vector| put(vector, pooled)),
            Pooling::Last => vectors.rev().take(1).for_each(|vector| put(vector, pooled)),
            Pooling::Largest => {
                pooled.fill(f32::NEG_INFINITY);
                for vector in vectors {
                    for (largest, element) in pooled.iter_mut().zip(vector) {
                        *largest = largest.max(f32::from_le_bytes(*element));
                    }
                }
            }
            Pooling::Mean => sum(vectors, |_| 1.0, 1.0 / count, pooled),
            Pooling::RootMean => sum(vectors, |_| 1.0, 1.0 / count.sqrt(), pooled),
            Pooling::WeightedMean => {
                let weights = count * (count + 1.0) / 2.0;
                sum(vectors, |position| position as f32 + 1.0, 1.0 / weights, pooled);
            }
        }
    }
}

fn sum<'a>(
    vectors: impl Iterator<Item = &'a [[u8; 4]]>,
    weight: impl Fn(usize) -> f32,
    scale: f32,
    pooled: &mut [f32],
) {
    pooled.fill(0.0);
    for (position, vector) in vectors.enumerate() {
        let weight = weight(position);
        for (sum, element) in pooled.iter_mut().zip(vector) {
            *sum += f32::from_le_bytes(*element) * weight;
        }
    }
    pooled.iter_mut().for_each(|sum| *sum *= scale);
}

/// Gives a vector the length 1. One of length 0 stays.
pub(crate) fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|element| element * element).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|element| *element /= length);
}

#[cfg(test)]
mod tests {
    use super::{Pooling, PoolingConfig, normalize};

    fn pooled(way: Pooling) -> [f32; 2] {
        let tokens = [1.0_f32, -2.0, 3.0, 4.0, 5.0, -8.0].map(f32::to_le_bytes);
        let mut pooled = [0.0; 2];
        way.pool(&tokens, &mut pooled);
        pooled
    }

    #[test]
    fn each_way_makes_its_vector() {
        assert_eq!(pooled(Pooling::First), [1.0, -2.0]);
        assert_eq!(pooled(Pooling::Last), [5.0, -8.0]);
        assert_eq!(pooled(Pooling::Largest), [5.0, 4.0]);
        assert_eq!(pooled(Pooling::Mean), [3.0, -2.0]);
        let root = 3.0_f32.sqrt();
        let [first, second] = pooled(Pooling::RootMean);
        assert!((first - 9.0 / root).abs() < 1e-6 && (second + 6.0 / root).abs() < 1e-6);
        let [first, second] = pooled(Pooling::WeightedMean);
        assert!((first - 22.0 / 6.0).abs() < 1e-6 && (second + 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_configuration_chooses() {
        let ways = |text: &str| serde_json::from_str::<PoolingConfig>(text).unwrap().ways();
        assert_eq!(
            ways(r#"{"word_embedding_dimension": 2, "pooling_mode_mean_tokens": true}"#),
            Ok(vec![Pooling::Mean])
        );
        let both = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#;
        assert_eq!(ways(both), Ok(vec![Pooling::First, Pooling::Mean]));
        assert_eq!(ways(r#"{"pooling_mode": "lasttoken"}"#), Ok(vec![Pooling::Last]));
        assert!(ways("{}").is_err() && ways(r#"{"pooling_mode": "x"}"#).is_err());
    }

    #[test]
    fn a_normalised_vector_has_the_length_one() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut nothing = [0.0, 0.0];
        normalize(&mut nothing);
        assert_eq!(nothing, [0.0, 0.0]);
    }
}
