//! The generic resources of `purlin.dev/v1alpha1`, as Rust types and as CustomResourceDefinitions.
//!
//! Everything in the kernel reads and writes these; other crates may too. The types mirror `docs/architecture.md`
//! field for field. Nothing here decides anything.

mod condition;
mod experiment;
mod model;
mod plugin;
mod policy;
mod route;
mod trial;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResourceExt;

pub(crate) use condition::whole_seconds;
pub use condition::{Change, find as find_condition, is_true, set as set_condition};
pub use experiment::{
    Algorithm, Assignment, Direction, EarlyStopping, Experiment, ExperimentSpec, ExperimentStatus,
    MetricFormat, MetricSource, MetricStrategy, MetricValue, MetricsCollector, Objective, OptimalTrial,
    Parameter, ParameterType, ResumePolicy, Scale, Setting, TrialCounts, TrialParameter, TrialTemplate,
};
pub use model::{
    Balancing, Batching, LoggingMode, Model, ModelContainer, ModelDevice, ModelFormat, ModelSource,
    ModelSpec, ModelStatus, Monitoring, PayloadLogging, Prefill, Recommendation, ResourceAmounts, Scaling,
    ScalingMetric,
};
pub use plugin::{Limits, OwnedKind, Plugin, PluginSpec, PluginStatus, REQUESTED_AT, RolledBack, Serving};
pub use policy::{PluginPolicy, PluginPolicySpec, PluginPolicyStatus, PullSecret};
pub use route::{
    Graph, GraphNode, GraphStep, NodeKind, Route, RouteAuth, RouteBackend, RouteSpec, RouteStatus, StepData,
};
pub use trial::{Measurement, ObservedMetric, Trial, TrialSpec, TrialStatus};

/// The group of every generic resource.
pub const GROUP: &str = "purlin.dev";
/// The version of every generic resource.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every generic resource.
pub const API_VERSION: &str = "purlin.dev/v1alpha1";

/// On a Trial: the name of its Experiment.
pub const EXPERIMENT_LABEL: &str = "purlin.dev/experiment";
/// On the object that a Trial runs, and on that object's Pods: the name of the Trial.
pub const TRIAL_LABEL: &str = "purlin.dev/trial";
/// On a Trial: its place in the experiment, from 0.
pub const INDEX_ANNOTATION: &str = "purlin.dev/trial-index";

/// The definitions that an API server needs before the kernel can run.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Plugin::crd(), PluginPolicy::crd(), Experiment::crd(), Trial::crd(), Model::crd(), Route::crd()]
}

/// The schema of a field that holds any JSON object.
fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

#[cfg(test)]
mod tests;
