//! An estimator's attributes.

use purlin_pickle::{Kind, Ref, Value};
use purlin_tabular::{Columns, ModelError, Table, Values};

/// Estimators within each other at most. What a pickle refers to may be what refers to it.
const DEPTH: usize = 16;

/// A fitted estimator.
#[derive(Clone)]
pub(crate) struct Estimator<'a> {
    object: Ref<'a>,
    class: &'a str,
    /// Where it is in the model, for errors.
    place: String,
    depth: usize,
}

impl<'a> Estimator<'a> {
    /// The model itself.
    pub(crate) fn whole(object: Ref<'a>) -> Result<Self, ModelError> {
        Estimator::at(object, String::new(), 0)
    }

    fn at(object: Ref<'a>, before: String, depth: usize) -> Result<Self, ModelError> {
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
                Ok(Estimator { object, class, place, depth })
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
        self.find(name).ok_or_else(|| self.wrong(name, "it is missing; was the estimator fitted?"))
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
        Estimator::at(value, format!("{}.{name}", self.place), self.depth + 1)
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
            "Pipeline" => {
                for step in self.items("steps")? {
                    let Some([_, estimator]) =
                        step.items().and_then(|parts| <[Ref<'a>; 2]>::try_from(parts).ok())
                    else {
                        return Err(self.wrong("steps", "a step is no pair of a name and an estimator"));
                    };
                    if matches!(estimator.value(), Value::Object(_)) {
                        return self.child_of(estimator, "steps").map(Some);
                    }
                }
                Err(self.wrong("steps", "there is no estimator in them"))
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
