//! An estimator's attributes.

use std::cell::Cell;

use purlin_pickle::{Kind, Ref, Value};
use purlin_tabular::{Columns, ModelError, Table, Values};

/// Estimators within each other at most. What a pickle refers to may be what refers to it.
const DEPTH: usize = 16;

/// What may be read of a model for each of its bytes. A pickle may refer to the same thing any number of times; a model of
/// scikit-learn has each of its numbers once, and they are looked at a few times.
const READS: usize = 16;

/// A fitted estimator.
#[derive(Clone)]
pub(crate) struct Estimator<'a> {
    object: Ref<'a>,
    class: &'a str,
    /// Where it is in the model, for errors.
    place: String,
    depth: usize,
    /// What may still be read.
    budget: &'a Cell<usize>,
}

impl<'a> Estimator<'a> {
    /// What may be read of a model of so many bytes.
    pub(crate) fn budget(bytes: usize) -> Cell<usize> {
        Cell::new(bytes.saturating_mul(READS).saturating_add(1 << 20))
    }

    /// The model itself.
    pub(crate) fn whole(object: Ref<'a>, budget: &'a Cell<usize>) -> Result<Self, ModelError> {
        Estimator::at(object, String::new(), 0, budget)
    }

    fn at(
        object: Ref<'a>,
        before: String,
        depth: usize,
        budget: &'a Cell<usize>,
    ) -> Result<Self, ModelError> {
        let place = if before.is_empty() { "the model".to_owned() } else { before.clone() };
        if depth > DEPTH {
            return Err(ModelError::malformed(
                place,
                format!("more than {DEPTH} estimators are within each other"),
            ));
        }
        match object.class() {
            Some((module, class)) if module == "sklearn" || module.starts_with("sklearn.") => {
                let place = if before.is_empty() { class.to_owned() } else { format!("{before}: {class}") };
                Ok(Estimator { object, class, place, depth, budget })
            }
            Some((module, class)) => Err(ModelError::unsupported(
                format!("{place}: {module}.{class}, which is none of scikit-learn's classes,"),
                "convert the model to ONNX (skl2onnx) and serve it with the format onnx",
            )),
            None => {
                let found = object.value().describe();
                Err(ModelError::malformed(
                    place,
                    format!("there is {found}, not an estimator of scikit-learn"),
                ))
            }
        }
    }

    /// The name of its class.
    pub(crate) fn class(&self) -> &'a str {
        self.class
    }

    /// The error of an attribute.
    pub(crate) fn wrong(&self, name: &str, reason: impl Into<String>) -> ModelError {
        ModelError::malformed(format!("{}.{name}", self.place), reason)
    }

    /// The error of an estimator that is set to something that is not computed.
    pub(crate) fn unsupported(&self, what: impl std::fmt::Display) -> ModelError {
        let remedy = "convert the model to ONNX (skl2onnx) and serve it with the format onnx";
        ModelError::unsupported(format!("{} with {what}", self.place), remedy)
    }

    /// An attribute that is not `None`.
    pub(crate) fn find(&self, name: &str) -> Option<Ref<'a>> {
        self.object.attribute(name).filter(|value| !value.is_none())
    }

    /// An attribute that must be there.
    pub(crate) fn get(&self, name: &str) -> Result<Ref<'a>, ModelError> {
        let value = self.find(name);
        let value = value.ok_or_else(|| self.wrong(name, "it is missing; was the estimator fitted?"))?;
        self.spend(value, name)?;
        Ok(value)
    }

    /// Counts a value that is read.
    fn spend(&self, value: Ref<'a>, name: &str) -> Result<(), ModelError> {
        let cost =
            value.shape().unwrap_or_default().iter().fold(1_usize, |cost, size| cost.saturating_mul(*size));
        match self.budget.get().checked_sub(cost.max(16)) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(self.wrong(name, "the model refers to the same parts too often")),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<f64, ModelError> {
        let value = self.get(name)?;
        value
            .number()
            .ok_or_else(|| self.wrong(name, format!("there is {}, not a number", value.value().describe())))
    }

    /// A number from zero.
    pub(crate) fn count(&self, name: &str) -> Result<usize, ModelError> {
        let value = self.get(name)?;
        let count = value.integer().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.wrong(name, format!("there is {}, not a count", value.value().describe())))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.find(name).and_then(Ref::truth).unwrap_or(default)
    }

    /// A text; empty where there is something else.
    pub(crate) fn text(&self, name: &str) -> &'a str {
        self.find(name).and_then(Ref::text).unwrap_or("")
    }

    /// All numbers of an array or a list, or a single one.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f64>, ModelError> {
        let value = self.get(name)?;
        if let Value::Integer(_) | Value::Float(_) = value.value() {
            return Ok(value.number().into_iter().collect());
        }
        value.floats().map_err(|error| self.wrong(name, error.to_string()))
    }

    /// So many numbers.
    pub(crate) fn vector(&self, name: &str, length: usize) -> Result<Vec<f64>, ModelError> {
        let numbers = self.floats(name)?;
        if numbers.len() != length {
            return Err(self.wrong(name, format!("there are {} numbers, not {length}", numbers.len())));
        }
        Ok(numbers)
    }

    /// Rows of so many numbers. An array of one dimension is one row.
    pub(crate) fn matrix(&self, name: &str, columns: usize) -> Result<Table, ModelError> {
        self.matrix_of(self.get(name)?, name, columns)
    }

    /// [`matrix`](Estimator::matrix), of a value in the attribute.
    pub(crate) fn matrix_of(&self, value: Ref<'a>, name: &str, columns: usize) -> Result<Table, ModelError> {
        self.spend(value, name)?;
        let shape = value.shape().unwrap_or_default();
        if columns == 0 || !matches!(shape.as_slice(), [width] | [_, width] if *width == columns) {
            return Err(self.wrong(name, format!("the shape is {shape:?}, not rows of {columns}")));
        }
        let values = value.floats().map_err(|error| self.wrong(name, error.to_string()))?;
        Ok(Table::new(columns, values))
    }

    /// What is in a list.
    pub(crate) fn items(&self, name: &str) -> Result<Vec<Ref<'a>>, ModelError> {
        let value = self.get(name)?;
        value
            .items()
            .ok_or_else(|| self.wrong(name, format!("there is {}, not a list", value.value().describe())))
    }

    /// An estimator within this one.
    pub(crate) fn child(&self, name: &str) -> Result<Estimator<'a>, ModelError> {
        self.child_of(self.get(name)?, name)
    }

    /// [`child`](Estimator::child), of a value in the attribute.
    pub(crate) fn child_of(&self, value: Ref<'a>, name: &str) -> Result<Estimator<'a>, ModelError> {
        self.spend(value, name)?;
        Estimator::at(value, format!("{}.{name}", self.place), self.depth + 1, self.budget)
    }

    /// Estimators within this one.
    pub(crate) fn children(&self, name: &str) -> Result<Vec<Estimator<'a>>, ModelError> {
        self.items(name)?.into_iter().map(|item| self.child_of(item, name)).collect()
    }

    /// The labels of the classes, in the type that predictions have.
    pub(crate) fn classes(&self) -> Result<Values, ModelError> {
        let classes = self.labels("classes_")?;
        if classes.len() < 2 {
            return Err(self.wrong("classes_", "there are fewer than two classes"));
        }
        Ok(classes)
    }

    /// Labels or categories.
    pub(crate) fn labels(&self, name: &str) -> Result<Values, ModelError> {
        let value = self.get(name)?;
        let fail = |error: purlin_pickle::Error| self.wrong(name, error.to_string());
        let Some(array) = value.array() else {
            return Err(self.unsupported(format!("several outputs ({name} is a list)")));
        };
        if array.shape.len() != 1 {
            return Err(self.wrong(name, format!("the shape is {:?}, not one of labels", array.shape)));
        }
        let integers = || value.integers().map_err(fail);
        Ok(match (array.datatype.kind, array.datatype.size) {
            (Kind::Bool, _) => Values::Truths(integers()?.into_iter().map(|label| label != 0).collect()),
            (Kind::Signed, 4) => Values::Shorts(integers()?.into_iter().map(|label| label as i32).collect()),
            (Kind::Signed | Kind::Unsigned, _) => Values::Integers(integers()?),
            (Kind::Float, 4) => {
                Values::Singles(value.floats().map_err(fail)?.into_iter().map(|label| label as f32).collect())
            }
            (Kind::Float, _) => Values::Doubles(value.floats().map_err(fail)?),
            (Kind::Object, _) if value.items().is_some_and(|items| items.iter().all(|item| whole(*item))) => {
                Values::Integers(integers()?)
            }
            _ => Values::Texts(value.texts().map_err(fail)?),
        })
    }

    /// Major and minor version of the scikit-learn that wrote it; zeros where it does not say.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut parts = self.text("_sklearn_version").split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// The columns that it was fitted on.
    pub(crate) fn columns(&self) -> Result<Columns, ModelError> {
        if let Some(inner) = self.fitted_first()? {
            return inner.columns();
        }
        let count = self.features()?;
        let names = self.find("feature_names_in_").and_then(|names| names.texts().ok()).unwrap_or_default();
        Ok(Columns { count, names: if names.len() == count { names } else { Vec::new() } })
    }

    /// The estimator that sees the rows first, where it is another one.
    fn fitted_first(&self) -> Result<Option<Estimator<'a>>, ModelError> {
        match self.class {
            "Pipeline" | "FeatureUnion" => {
                let name = if self.class == "Pipeline" { "steps" } else { "transformer_list" };
                let fitted =
                    |step: Ref<'a>| step.items()?.get(1).copied().filter(|step| step.class().is_some());
                match self.items(name)?.into_iter().find_map(fitted) {
                    Some(first) => self.child_of(first, name).map(Some),
                    None => Err(self.wrong(name, "there is no pair of a name and an estimator")),
                }
            }
            "GridSearchCV" | "RandomizedSearchCV" | "HalvingGridSearchCV" | "HalvingRandomSearchCV" => {
                self.child("best_estimator_").map(Some)
            }
            "SelectFromModel" if self.find("n_features_in_").is_none() => self.child("estimator_").map(Some),
            _ => Ok(None),
        }
    }

    fn features(&self) -> Result<usize, ModelError> {
        let counted = ["n_features_in_", "n_features_"].iter().find_map(|name| self.find(name)?.integer());
        let known = counted.and_then(|count| usize::try_from(count).ok());
        // Before 0.24 most estimators did not count them.
        let width = || {
            let names =
                ["coef_", "cluster_centers_", "_fit_X", "theta_", "feature_log_prob_", "mean_", "scale_"];
            names.iter().find_map(|name| self.find(name)?.shape()?.last().copied())
        };
        match known.or_else(width) {
            Some(count) if (1..1 << 24).contains(&count) => Ok(count),
            _ => Err(self.wrong("n_features_in_", "it does not say how many features it was fitted on")),
        }
    }
}

fn whole(item: Ref<'_>) -> bool {
    matches!(item.value(), Value::Integer(_))
}
