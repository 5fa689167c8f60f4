//! Naive Bayes: the logarithm of each class's probability is a sum over the columns.

use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::math::{dot, largest, softmax};
use crate::model::{Classify, Predictor};

/// What a column adds to the logarithm of a class.
enum Kind {
    /// A normal distribution, with means and variances.
    Normal { means: Table, variances: Table },
    /// Its number, weighted. Above the threshold it counts as one, else as nothing, where there is one.
    Weighted { weights: Table, threshold: Option<f64> },
}

struct Bayes {
    kind: Kind,
    /// What each class starts from.
    constants: Vec<f64>,
}

pub(crate) fn classifier(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let classes = estimator.classes()?;
    let matrix = |name: &str| {
        let found = estimator.matrix(name, columns)?;
        if found.len() != classes.len() {
            return Err(estimator
                .wrong(name, format!("there are {} rows for {} classes", found.len(), classes.len())));
        }
        Ok(found)
    };
    let priors = || estimator.vector("class_log_prior_", classes.len());
    let (kind, constants) = match estimator.class() {
        "GaussianNB" => {
            // Named otherwise before 1.0.
            let variances = matrix(if estimator.find("var_").is_some() { "var_" } else { "sigma_" })?;
            let priors = estimator.vector("class_prior_", classes.len())?;
            let spread = |variances: &[f64]| -> f64 {
                variances.iter().map(|variance| (2.0 * std::f64::consts::PI * variance).ln()).sum()
            };
            let constants =
                priors.iter().zip(variances.rows()).map(|(prior, row)| prior.ln() - 0.5 * spread(row));
            let constants = constants.collect();
            (Kind::Normal { means: matrix("theta_")?, variances }, constants)
        }
        "BernoulliNB" => {
            let mut weights = matrix("feature_log_prob_")?;
            let mut constants = priors()?;
            let absent: Vec<f64> = weights.values.iter().map(|weight| (1.0 - weight.exp()).ln()).collect();
            for (constant, absent) in constants.iter_mut().zip(absent.chunks_exact(columns)) {
                *constant += absent.iter().sum::<f64>();
            }
            for (weight, absent) in weights.values.iter_mut().zip(&absent) {
                *weight -= absent;
            }
            let threshold = estimator.find("binarize").and_then(|value| value.number());
            (Kind::Weighted { weights, threshold }, constants)
        }
        class => {
            let constants = if class == "ComplementNB" { vec![0.0; classes.len()] } else { priors()? };
            (Kind::Weighted { weights: matrix("feature_log_prob_")?, threshold: None }, constants)
        }
    };
    Ok(Predictor::Classifier { classes, model: Box::new(Bayes { kind, constants }) })
}

impl Bayes {
    /// Logarithms of the classes for all rows, up to a constant for each row.
    fn logarithms(&self, table: &Table) -> Vec<f64> {
        let mut found = Vec::with_capacity(table.len() * self.constants.len());
        let mut counted = Vec::new();
        for row in table.rows() {
            match &self.kind {
                Kind::Normal { means, variances } => {
                    let classes = means.rows().zip(variances.rows()).zip(&self.constants);
                    found.extend(classes.map(|((means, variances), constant)| {
                        let distances = row.iter().zip(means).zip(variances);
                        let sum: f64 = distances
                            .map(|((value, mean), variance)| (value - mean) * (value - mean) / variance)
                            .sum();
                        constant - 0.5 * sum
                    }));
                }
                Kind::Weighted { weights, threshold } => {
                    let row = match threshold {
                        Some(threshold) => {
                            counted.clear();
                            counted.extend(row.iter().map(|value| f64::from(u8::from(value > threshold))));
                            counted.as_slice()
                        }
                        None => row,
                    };
                    let classes = weights.rows().zip(&self.constants);
                    found.extend(classes.map(|(weights, constant)| dot(row, weights) + constant));
                }
            }
        }
        found
    }
}

impl Classify for Bayes {
    fn decide(&self, table: &Table) -> Vec<usize> {
        self.logarithms(table).chunks_exact(self.constants.len()).map(largest).collect()
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        let mut found = self.logarithms(table);
        found.chunks_exact_mut(self.constants.len()).for_each(softmax);
        found
    }
}
