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
//! | `settings`, `storage`, `scaling` | arguments, where models are, replicas |
//! | `revisions` | revisions, and who gets which share of the requests |
//! | `routes` | ways to Models |
//! | `status`, `model_status`, `knative`, `words` | what came of it, back |
//! | `trained_model`, `quantity` | TrainedModel |
//! | `graph` | InferenceGraph |
//! | `llm`, `llm_config`, `llm_pod`, `llm_status` | LLMInferenceService |
//!
//! What other dialects of serving do in the same way is in `purlin_serving`: which ServingRuntime serves, its Pod, storage
//! that a Secret's entry opens, how far a Model is, and the address that ModelMesh's services share.
//!
//! A ServingRuntime, a ClusterServingRuntime and an LLMInferenceServiceConfig are read by the others and become nothing
//! themselves.

mod companions;
mod graph;
mod knative;
mod llm;
mod llm_config;
mod llm_pod;
mod llm_status;
mod model_status;
pub mod names;
mod predictor;
mod quantity;
mod revisions;
mod routes;
mod scaling;
mod service;
mod settings;
mod status;
mod storage;
mod trained_model;
mod validate;
mod words;

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Context, Dialect, Fault, Object as _, Selector, SyncRequest, SyncResponse};

use names::{V1ALPHA1, V1BETA1};

/// The plugin.
pub struct KServe;

impl Dialect for KServe {
    fn related(_context: &Context, parent: &Value) -> Result<Vec<Selector>, Fault> {
        Ok(match Kind::of(parent) {
            Kind::Service => service::related(parent),
            Kind::TrainedModel => trained_model::related(parent),
            Kind::Llm => llm::related(parent),
            Kind::Graph => graph::related(parent),
            Kind::Read => Vec::new(),
        })
    }

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        match Kind::of(&request.parent) {
            Kind::Service => service::sync(request),
            Kind::TrainedModel => trained_model::sync(request),
            Kind::Graph => graph::sync(request),
            Kind::Llm => llm::sync(request),
            Kind::Read => Ok(SyncResponse::default()),
        }
    }
}

/// What a parent is.
enum Kind {
    Service,
    TrainedModel,
    Graph,
    Llm,
    /// Only read by the others.
    Read,
}

impl Kind {
    fn of(parent: &Value) -> Self {
        if parent.is(V1BETA1, "InferenceService") {
            Kind::Service
        } else if parent.is(V1ALPHA1, "TrainedModel") {
            Kind::TrainedModel
        } else if parent.is(V1ALPHA1, "InferenceGraph") {
            Kind::Graph
        } else if llm::is(parent) {
            Kind::Llm
        } else {
            Kind::Read
        }
    }
}

purlin_sdk::export_dialect!(KServe);
