//! Predictors that are a weighted sum of the columns.

use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::math::{dot, expit, largest, normalize, softmax};
use crate::model::{Classify, Predictor, Regress};

/// Rows to sums: one for each row of weights.
struct Sums {
    weights: Table,
    intercepts: Vec<f64>,
}

impl Sums {
    fn read(estimator: &Estimator<'_>, columns: usize) -> Result<Sums, ModelError> {
        let weights = estimator.matrix("coef_", columns)?;
        let given = estimator.floats("intercept_")?;
        // One intercept stands for all sums where none was fitted.
        let intercepts = match given.as_slice() {
            [one] => vec![*one; weights.len()],
            _ => given,
        };
        if weights.is_empty() || intercepts.len() != weights.len() {
            return Err(estimator.wrong(
                "intercept_",
                format!("there are {} of them for {} sums", intercepts.len(), weights.len()),
            ));
        }
        Ok(Sums { weights, intercepts })
    }

    fn len(&self) -> usize {
        self.intercepts.len()
    }

    fn of_row<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.weights.rows().zip(&self.intercepts).map(|(weights, intercept)| dot(row, weights) + intercept)
    }

    /// All sums, row by row.
    fn all(&self, table: &Table) -> Vec<f64> {
        table.rows().flat_map(|row| self.of_row(row)).collect()
    }
}

/// How sums become probabilities.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// There are none.
    None,
    /// Each class against all others, brought to a sum of one.
    OneAgainstRest,
    /// All classes together.
    Together,
    /// All classes together, where two share one sum.
    Balanced,
    /// The sum itself, between -1 and 1.
    Clipped,
}

struct Linear {
    sums: Sums,
    classes: usize,
    link: Link,
}

pub(crate) fn classifier(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let (classes, sums) = (estimator.classes()?, Sums::read(estimator, columns)?);
    let wanted = if classes.len() == 2 { 1 } else { classes.len() };
    if sums.len() != wanted {
        return Err(
            estimator.wrong("coef_", format!("there are {} sums for {} classes", sums.len(), classes.len()))
        );
    }
    let model = Linear { sums, classes: classes.len(), link: link(estimator, classes.len()) };
    Ok(Predictor::Classifier { classes, model: Box::new(model) })
}

fn link(estimator: &Estimator<'_>, classes: usize) -> Link {
    match estimator.class() {
        "LogisticRegression" | "LogisticRegressionCV" => {
            match (estimator.text("multi_class"), estimator.text("solver")) {
                ("ovr", _) | (_, "liblinear") => Link::OneAgainstRest,
                ("multinomial", _) if classes == 2 => Link::Balanced,
                ("warn", _) => Link::OneAgainstRest,
                _ if classes == 2 => Link::OneAgainstRest,
                _ => Link::Together,
            }
        }
        "LinearDiscriminantAnalysis" if classes == 2 => Link::OneAgainstRest,
        "LinearDiscriminantAnalysis" => Link::Together,
        "SGDClassifier" => match estimator.text("loss") {
            "log_loss" | "log" => Link::OneAgainstRest,
            "modified_huber" => Link::Clipped,
            _ => Link::None,
        },
        _ => Link::None,
    }
}

impl Classify for Linear {
    fn decide(&self, table: &Table) -> Vec<usize> {
        let sums = self.sums.all(table);
        match self.classes {
            2 => sums.iter().map(|sum| usize::from(*sum > 0.0)).collect(),
            _ => sums.chunks_exact(self.classes).map(largest).collect(),
        }
    }

    fn has_probabilities(&self) -> bool {
        self.link != Link::None
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        let sums = self.sums.all(table);
        if self.classes == 2 {
            let pair = |sum: &f64| match self.link {
                Link::Balanced => {
                    let mut pair = [-sum, *sum];
                    softmax(&mut pair);
                    pair
                }
                Link::Clipped => {
                    let one = (sum.clamp(-1.0, 1.0) + 1.0) / 2.0;
                    [1.0 - one, one]
                }
                Link::None | Link::OneAgainstRest | Link::Together => {
                    let one = expit(*sum);
                    [1.0 - one, one]
                }
            };
            return sums.iter().flat_map(pair).collect();
        }
        let mut found = sums;
        for sums in found.chunks_exact_mut(self.classes) {
            match self.link {
                Link::Together | Link::Balanced => softmax(sums),
                Link::None | Link::OneAgainstRest => {
                    sums.iter_mut().for_each(|sum| *sum = expit(*sum));
                    normalize(sums);
                }
                Link::Clipped => {
                    sums.iter_mut().for_each(|sum| *sum = (sum.clamp(-1.0, 1.0) + 1.0) / 2.0);
                    // No class is likely: they are equally so.
                    if sums.iter().all(|sum| *sum == 0.0) {
                        sums.fill(1.0);
                    }
                    normalize(sums);
                }
            }
        }
        found
    }
}

struct Regression {
    sums: Sums,
    width: Option<usize>,
    /// Whether the logarithm of the target was fitted.
    logarithm: bool,
}

pub(crate) fn regressor(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let sums = Sums::read(estimator, columns)?;
    let dimensions = estimator.get("coef_")?.shape().map_or(0, |shape| shape.len());
    let several = dimensions == 2 && estimator.class() != "LinearSVR";
    let logarithm = match estimator.class() {
        "PoissonRegressor" | "GammaRegressor" => true,
        "TweedieRegressor" => match estimator.text("link") {
            "log" => true,
            "identity" => false,
            _ => estimator.number("power")? > 0.0,
        },
        _ => false,
    };
    let width = several.then_some(sums.len());
    Ok(Predictor::Regressor(Box::new(Regression { sums, width, logarithm })))
}

impl Regress for Regression {
    fn width(&self) -> Option<usize> {
        self.width
    }

    fn values(&self, table: &Table) -> Vec<f64> {
        let sums = self.sums.all(table);
        if self.logarithm { sums.into_iter().map(f64::exp).collect() } else { sums }
    }
}
