//! KServe's kinds (`serving.kserve.io`), translated.
//!
//! An `InferenceService` becomes a generic `Model` for each revision of its predictor, and `Route`s that lead to them. What
//! the kernel and the gateway report comes back in KServe's own words. Nothing is remembered here: which revision is
//! which is in the Models and in the service's status.
//!
//! | Module | Job |
//! |---|---|
//! | [`names`] | names that others know |
//! | `service` | InferenceService: all of it put together |
//! | `validate` | what KServe's webhook refuses |
//! | `predictor`, `companions` | components to Models |
//! | `runtime`, `container` | which ServingRuntime serves, and its Pod |
//! | `settings`, `storage`, `scaling` | arguments, where models are, replicas |
//! | `revisions` | revisions, and who gets which share of the requests |
//! | `routes` | ways to Models |
//! | `status`, `model_status`, `knative` | what came of it, back |

mod companions;
mod container;
mod knative;
mod model_status;
pub mod names;
mod predictor;
mod revisions;
mod routes;
mod runtime;
mod scaling;
mod service;
mod settings;
mod status;
mod storage;
mod validate;

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Context, Dialect, Fault, Object as _, Selector, SyncRequest, SyncResponse};

use names::V1BETA1;

/// The plugin.
pub struct KServe;

impl Dialect for KServe {
    fn related(_context: &Context, parent: &Value) -> Result<Vec<Selector>, Fault> {
        if parent.is(V1BETA1, "InferenceService") {
            return Ok(service::related(parent));
        }
        Ok(Vec::new())
    }

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        if request.parent.is(V1BETA1, "InferenceService") {
            return service::sync(request);
        }
        Ok(SyncResponse::default())
    }
}

purlin_sdk::export_dialect!(KServe);
