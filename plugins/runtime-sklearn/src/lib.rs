//! Serves models of scikit-learn from what joblib or pickle wrote, as KServe's `sklearnserver` does. The pickle is read, not
//! run: an estimator is found by the name of its class, and computed here from its fitted attributes.
//!
//! | Module | Job |
//! |---|---|
//! | `attributes` | an estimator's attributes, and errors that name them |
//! | `registry` | which class is which estimator |
//! | `model` | rows to answers, through the steps before the last |
//! | `linear`, `bayes`, `neighbors`, `svm`, `network` | predictors |
//! | `tree`, `boosting` | predictors of trees |
//! | `scale`, `encode`, `select` | steps before a predictor |
//! | `compose` | steps for some of the columns |
//! | `math` | functions that several of these share |
//!
//! An attribute has the shape that the estimator needs, or the model is refused when it is loaded: what is loaded computes
//! any row.
#![forbid(unsafe_code)]

mod attributes;
mod bayes;
mod boosting;
mod compose;
mod encode;
mod linear;
mod math;
mod model;
mod neighbors;
mod network;
mod registry;
mod scale;
mod select;
mod svm;
mod tree;

pub use crate::model::{InputError, Model};

use purlin_sdk::{
    Datatype, Fault, InferRequest, InferResponse, ModelMetadata, ModelRequest, ServingRuntime, fault,
};
use purlin_tabular::{Table, content, metadata, only_file};

/// Endings of the files that are read.
const ENDINGS: [&str; 3] = [".joblib", ".pkl", ".pickle"];

/// The setting that asks for probabilities instead of classes, named as KServe's environment variable.
const PROBABILITIES: &str = "PREDICT_PROBA";

/// A loaded model.
pub struct SklearnModel {
    model: Model,
    probabilities: bool,
}

impl ServingRuntime for SklearnModel {
    fn load(request: ModelRequest) -> Result<Self, Fault> {
        let file = only_file(&request, &ENDINGS)?;
        let model = Model::read(content(file)?).map_err(|error| error.into_fault(&file.name))?;
        let wanted = request.setting(PROBABILITIES).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        // As in KServe: a model that has none answers with its predictions.
        let probabilities = wanted && model.has_probabilities();
        Ok(SklearnModel { model, probabilities })
    }

    fn metadata(&self) -> ModelMetadata {
        let (output, width) = self.model.output(self.probabilities);
        metadata("sklearn", self.model.columns(), Datatype::Fp64, output, width)
    }

    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let table = Table::read(&request.inputs, self.model.columns())?;
        let rows = table.len();
        let answer =
            if self.probabilities { self.model.probabilities(table) } else { self.model.predict(table) };
        answer.map_err(|error| fault::invalid("inputs[0].data", "", error.to_string()))?.into_response(rows)
    }
}

purlin_sdk::export_serving_runtime!(SklearnModel);
