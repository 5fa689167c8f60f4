//! What the sum of a row's leaves becomes, by the objective that the model was trained for, in FP32 as XGBoost computes it
//! (`PredTransform` and `ProbToMargin` of its objectives).

use purlin_tabular::ModelError;

/// From sums to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objective {
    /// The sum itself.
    Identity,
    /// A probability.
    Logistic,
    /// For targets that are positive.
    Exponential,
    /// Whether the sum is positive, as 1 or 0.
    Hinge,
    /// The class of the largest sum.
    Softmax,
    /// Probabilities of the classes.
    Softprob,
}

impl Objective {
    pub(crate) fn parse(name: &str) -> Result<Objective, ModelError> {
        Ok(match name {
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map"
            | "binary:logitraw" => Objective::Identity,
            "reg:logistic" | "binary:logistic" => Objective::Logistic,
            "binary:hinge" => Objective::Hinge,
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
                Objective::Exponential
            }
            "multi:softmax" => Objective::Softmax,
            "multi:softprob" => Objective::Softprob,
            other => {
                let remedy = "reg:*, binary:*, count:poisson, multi:*, rank:* and survival:* are";
                return Err(ModelError::unsupported(format!("the objective {other:?}"), remedy));
            }
        })
    }

    /// The sum that a base score, which is in the space of the answers, stands for.
    pub(crate) fn margin(self, base_score: f32) -> f32 {
        match self {
            Objective::Logistic => -(1.0 / base_score - 1.0).ln(),
            Objective::Exponential => base_score.ln(),
            Objective::Identity | Objective::Hinge | Objective::Softmax | Objective::Softprob => base_score,
        }
    }

    /// Turns the sums of one row into its answer, which is in the first of them where there is one number.
    pub(crate) fn convert(self, sums: &mut [f32]) {
        let each = |sums: &mut [f32], convert: &dyn Fn(f32) -> f32| {
            for sum in sums {
                *sum = convert(*sum);
            }
        };
        match self {
            Objective::Identity => {}
            Objective::Logistic => each(sums, &sigmoid),
            Objective::Exponential => each(sums, &f32::exp),
            Objective::Hinge => each(sums, &|sum| if sum > 0.0 { 1.0 } else { 0.0 }),
            Objective::Softmax => {
                let mut best = 0;
                for (class, sum) in sums.iter().enumerate() {
                    if *sum > sums[best] {
                        best = class;
                    }
                }
                sums[0] = best as f32;
            }
            Objective::Softprob => {
                let most = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut total = 0.0_f64;
                for sum in sums.iter_mut() {
                    *sum = (*sum - most).exp();
                    total += f64::from(*sum);
                }
                each(sums, &|sum| sum / total as f32);
            }
        }
    }
}

/// The exponent is kept below what FP32 holds, and the denominator above zero.
fn sigmoid(sum: f32) -> f32 {
    1.0 / ((-sum).min(88.7).exp() + 1.0 + 1e-16)
}
