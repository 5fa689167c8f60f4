//! ModelMesh's `Predictor` (`serving.kserve.io/v1alpha1`), translated.
//!
//! A Predictor becomes a generic `Model` for its spec, and a `Route` by which it answers under an address that all Predictors
//! of the namespace share. A Model that is asked is loaded and stays while others do not need its memory. When the spec
//! changes there are two Models for a while: requests go to the old one until the new one can answer. InferenceServices with
//! the deployment mode ModelMesh are `dialect-kserve`'s and share the address; what the two dialects have in common is in
//! `purlin_serving`.
//!
//! | Module | Job |
//! |---|---|
//! | `predictor` | all of it put together |
//! | `place` | where the files are, and what opens the place |
//! | `model` | the spec of the Model: a format that a plugin serves, or a ServingRuntime's containers |
//! | `versions` | which Model has the requests, and which others there are |
//! | `status` | what came of it, back |

#![forbid(unsafe_code)]

mod model;
mod place;
mod predictor;
mod status;
mod versions;

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Context, Dialect, Fault, Selector, SyncRequest, SyncResponse};
use purlin_serving::runtime;

/// The plugin.
pub struct ModelMesh;

impl Dialect for ModelMesh {
    fn related(_context: &Context, _parent: &Value) -> Result<Vec<Selector>, Fault> {
        Ok(runtime::selectors().to_vec())
    }

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        Ok(predictor::sync(request))
    }
}

purlin_sdk::export_dialect!(ModelMesh);
