//! What the sum of a row's leaves becomes, by the objective that the model was trained for. The names and formulas are
//! those of LightGBM's `ObjectiveFunction::ConvertOutput`.

use purlin_tabular::ModelError;

/// From sums to answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Objective {
    /// The sum itself.
    Identity,
    /// Its square, with its sign: the target was trained as its root.
    SignedSquare,
    /// For targets that are positive.
    Exponential,
    /// A probability for each sum, by itself.
    Sigmoid(f64),
    /// Probabilities of classes, together.
    Softmax,
    /// `log(1 + exp(x))`
    SoftPlus,
}

impl Objective {
    /// From the line of a model: a name and parameters, such as `binary sigmoid:1`.
    pub(crate) fn parse(line: &str) -> Result<Objective, ModelError> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let parameters: Vec<&str> = words.collect();
        let sigmoid = || {
            let given = parameters.iter().find_map(|parameter| parameter.strip_prefix("sigmoid:"));
            let factor = given.unwrap_or("1");
            factor.parse().map_err(|_| {
                ModelError::malformed("objective", format!("the factor of the sigmoid is {factor:?}"))
            })
        };
        Ok(match name {
            "regression" if parameters.contains(&"sqrt") => Objective::SignedSquare,
            "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
            | "rank_xendcg" | "custom" | "none" | "" => Objective::Identity,
            "poisson" | "gamma" | "tweedie" => Objective::Exponential,
            "binary" | "multiclassova" => Objective::Sigmoid(sigmoid()?),
            "multiclass" => Objective::Softmax,
            "cross_entropy" => Objective::Sigmoid(1.0),
            "cross_entropy_lambda" => Objective::SoftPlus,
            other => {
                let remedy = "regression, binary, multiclass, ranking and cross-entropy objectives are";
                return Err(ModelError::unsupported(format!("the objective {other:?}"), remedy));
            }
        })
    }

    /// Turns the sums of one row into its answer.
    pub(crate) fn convert(self, sums: &mut [f64]) {
        let each = |sums: &mut [f64], convert: &dyn Fn(f64) -> f64| {
            for sum in sums {
                *sum = convert(*sum);
            }
        };
        match self {
            Objective::Identity => {}
            Objective::SignedSquare => each(sums, &|sum| sum.signum() * sum * sum),
            Objective::Exponential => each(sums, &f64::exp),
            Objective::Sigmoid(factor) => each(sums, &|sum| 1.0 / (1.0 + (-factor * sum).exp())),
            Objective::SoftPlus => each(sums, &|sum| sum.exp().ln_1p()),
            Objective::Softmax => {
                let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mut total = 0.0;
                for sum in sums.iter_mut() {
                    *sum = (*sum - most).exp();
                    total += *sum;
                }
                each(sums, &|sum| sum / total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Objective;

    #[test]
    fn objectives_are_told_by_their_lines() {
        let cases = [
            ("regression", Objective::Identity),
            ("regression sqrt", Objective::SignedSquare),
            ("binary sigmoid:2.5", Objective::Sigmoid(2.5)),
            ("multiclassova num_class:3 sigmoid:1", Objective::Sigmoid(1.0)),
            ("multiclass num_class:3", Objective::Softmax),
            ("lambdarank", Objective::Identity),
        ];
        for (line, expected) in cases {
            assert_eq!(Objective::parse(line), Ok(expected), "{line}");
        }
        assert!(Objective::parse("binary sigmoid:x").is_err());
        assert!(
            Objective::parse("regression_l3").is_err_and(|error| error.to_string().contains("regression_l3"))
        );
    }
}
