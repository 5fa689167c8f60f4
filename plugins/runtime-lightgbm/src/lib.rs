//! Serves models of LightGBM from its text format, as `Booster.predict` answers: what KServe's `lgbserver` does.
//!
//! | Module | Job |
//! |---|---|
//! | `text` | reads the file into trees |
//! | `objective` | what a sum of leaves becomes |
//! | `model` | rows to answers |
#![forbid(unsafe_code)]

mod model;
mod objective;
mod text;

pub use crate::model::Booster;

use purlin_sdk::{Datatype, Fault, InferRequest, InferResponse, ModelMetadata, ModelRequest, ServingRuntime};
use purlin_tabular::{Table, content, metadata, only_file};

/// Endings of the files that are read.
const ENDINGS: [&str; 2] = [".bst", ".txt"];

/// A loaded model.
pub struct LightGbmModel(Booster);

impl ServingRuntime for LightGbmModel {
    fn load(request: ModelRequest) -> Result<Self, Fault> {
        let file = only_file(&request, &ENDINGS)?;
        let booster = Booster::read(&content(file)?).map_err(|error| error.into_fault(&file.name))?;
        Ok(LightGbmModel(booster))
    }

    fn metadata(&self) -> ModelMetadata {
        metadata("lightgbm", self.0.columns(), Datatype::Fp64, Datatype::Fp64, self.0.width())
    }

    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let table = Table::read(&request.inputs, self.0.columns())?;
        self.0.predict(&table).into_response(table.len())
    }
}

purlin_sdk::export_serving_runtime!(LightGbmModel);
