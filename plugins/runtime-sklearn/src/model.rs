//! Rows to answers.

use std::fmt;

use purlin_pickle::{Limits, Pickle};
use purlin_sdk::Datatype;
use purlin_tabular::{Answer, Columns, ModelError, Table, Values};

use crate::attributes::Estimator;
use crate::registry;

/// A step before the last: rows to rows.
pub(crate) trait Transform {
    /// Whether it takes rows with missing values.
    fn takes_missing(&self) -> bool {
        false
    }

    /// The rows after it.
    ///
    /// # Errors
    /// A row has a value that the step was not fitted for.
    fn transform(&self, table: Table) -> Result<Table, InputError>;
}

/// What tells classes apart.
pub(crate) trait Classify {
    /// Whether it takes rows with missing values.
    fn takes_missing(&self) -> bool {
        false
    }

    /// The class of each row, as its place among the classes.
    fn decide(&self, table: &Table) -> Vec<usize>;

    /// Whether it has probabilities.
    fn has_probabilities(&self) -> bool {
        true
    }

    /// The probability of each class, row by row.
    fn probabilities(&self, table: &Table) -> Vec<f64>;
}

/// What gives numbers.
pub(crate) trait Regress {
    /// Whether it takes rows with missing values.
    fn takes_missing(&self) -> bool {
        false
    }

    /// Numbers for a row; `None` for one that has no dimension of its own.
    fn width(&self) -> Option<usize> {
        None
    }

    /// The numbers, row by row.
    fn values(&self, table: &Table) -> Vec<f64>;
}

/// The last step.
pub(crate) enum Predictor {
    /// A class.
    Classifier { classes: Values, model: Box<dyn Classify> },
    /// Numbers.
    Regressor(Box<dyn Regress>),
}

/// Why a row has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError(pub(crate) String);

impl fmt::Display for InputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for InputError {}

/// A fitted model of scikit-learn.
pub struct Model {
    pub(crate) columns: Columns,
    pub(crate) steps: Vec<Box<dyn Transform>>,
    pub(crate) last: Predictor,
}

impl Model {
    /// Reads what joblib or pickle wrote.
    ///
    /// # Errors
    /// The content is no pickle, or holds an estimator that is not known.
    pub fn read(content: Vec<u8>) -> Result<Model, ModelError> {
        let pickle = Pickle::read(content, Limits::default());
        let pickle = pickle.map_err(|error| ModelError::malformed("the pickle", error.to_string()))?;
        let budget = Estimator::budget(pickle.size());
        registry::model(&Estimator::whole(pickle.root(), &budget)?)
    }

    /// What it takes.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Whether it is a classifier that has probabilities.
    pub fn has_probabilities(&self) -> bool {
        matches!(&self.last, Predictor::Classifier { model, .. } if model.has_probabilities())
    }

    /// Type of the answer, and numbers in it for a row.
    pub fn output(&self, probabilities: bool) -> (Datatype, Option<usize>) {
        match &self.last {
            Predictor::Classifier { classes, .. } if probabilities => (Datatype::Fp64, Some(classes.len())),
            Predictor::Classifier { classes, .. } => (classes.datatype(), None),
            Predictor::Regressor(model) => (Datatype::Fp64, model.width()),
        }
    }

    /// The prediction for each row.
    ///
    /// # Errors
    /// A row has a value that the model does not take.
    pub fn predict(&self, table: Table) -> Result<Answer, InputError> {
        let table = self.prepared(table)?;
        Ok(match &self.last {
            Predictor::Classifier { classes, model } => Answer::column(classes.pick(&model.decide(&table))),
            Predictor::Regressor(model) => {
                Answer { values: Values::Doubles(model.values(&table)), width: model.width() }
            }
        })
    }

    /// The probabilities of the classes for each row; the prediction of a model that has none.
    ///
    /// # Errors
    /// A row has a value that the model does not take.
    pub fn probabilities(&self, table: Table) -> Result<Answer, InputError> {
        match &self.last {
            Predictor::Classifier { classes, model } if model.has_probabilities() => {
                let table = self.prepared(table)?;
                Ok(Answer::rows(Values::Doubles(model.probabilities(&table)), classes.len()))
            }
            Predictor::Classifier { .. } | Predictor::Regressor(_) => self.predict(table),
        }
    }

    /// The rows as the last step sees them.
    fn prepared(&self, mut table: Table) -> Result<Table, InputError> {
        for step in &self.steps {
            check(&table, step.takes_missing())?;
            table = step.transform(table)?;
        }
        let takes_missing = match &self.last {
            Predictor::Classifier { model, .. } => model.takes_missing(),
            Predictor::Regressor(model) => model.takes_missing(),
        };
        check(&table, takes_missing)?;
        Ok(table)
    }
}

/// Refuses what scikit-learn refuses: infinity, and NaN where it is not known what to do with it.
pub(crate) fn check(table: &Table, takes_missing: bool) -> Result<(), InputError> {
    let wrong = |value: &f64| value.is_infinite() || (value.is_nan() && !takes_missing);
    let Some(place) = table.values.iter().position(wrong) else { return Ok(()) };
    let (row, column) = (place / table.columns.max(1), place % table.columns.max(1));
    let value = table.values[place];
    Err(InputError(format!("row {row}, column {column} is {value}, which this model does not take")))
}
