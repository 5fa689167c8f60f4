//! Serves models of XGBoost from their JSON and UBJSON, as `Booster.predict` answers: what KServe's `xgbserver` does. All
//! trees are used, also of a model that was stopped early: `best_iteration` means something to XGBoost's wrapper for
//! scikit-learn only.
//!
//! | Module | Job |
//! |---|---|
//! | `document` | a JSON document, its numbers lying together |
//! | `ubjson` | the same, from UBJSON |
//! | `learner` | the document's model |
//! | `tree` | a tree of it |
//! | `objective` | what a sum of leaves becomes |
//! | `model` | rows to answers |
#![forbid(unsafe_code)]

mod document;
mod learner;
mod model;
mod objective;
mod tree;
mod ubjson;

pub use crate::model::Booster;

use purlin_sdk::{Datatype, Fault, InferRequest, InferResponse, ModelMetadata, ModelRequest, ServingRuntime};
use purlin_tabular::{Table, content, metadata, only_file};

/// Endings of the files that are read.
const ENDINGS: [&str; 3] = [".bst", ".json", ".ubj"];

/// A loaded model.
pub struct XgBoostModel(Booster);

impl ServingRuntime for XgBoostModel {
    fn load(request: ModelRequest) -> Result<Self, Fault> {
        let file = only_file(&request, &ENDINGS)?;
        let booster = Booster::read(&content(file)?).map_err(|error| error.into_fault(&file.name))?;
        Ok(XgBoostModel(booster))
    }

    fn metadata(&self) -> ModelMetadata {
        metadata("xgboost", self.0.columns(), Datatype::Fp32, Datatype::Fp32, self.0.width())
    }

    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let table = Table::read(&request.inputs, self.0.columns())?;
        let rows = table.len();
        self.0.predict(table).into_response(rows)
    }
}

purlin_sdk::export_serving_runtime!(XgBoostModel);
