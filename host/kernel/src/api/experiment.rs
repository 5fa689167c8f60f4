//! The `Experiment` resource: a search over parameters, its budget, and what came of it.
//!
//! Read and written by the experiment loop.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::trial::ObservedMetric;

/// A search for good values of parameters, by trials.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "purlin.dev",
    version = "v1alpha1",
    kind = "Experiment",
    plural = "experiments",
    namespaced,
    status = "ExperimentStatus",
    category = "purlin",
    doc = "A search for good values of parameters: trials are run until a goal, or a budget, is reached.",
    printcolumn = r#"{"name":"Running","type":"integer","jsonPath":".status.trials.running"}"#,
    printcolumn = r#"{"name":"Succeeded","type":"integer","jsonPath":".status.trials.succeeded"}"#,
    printcolumn = r#"{"name":"Failed","type":"integer","jsonPath":".status.trials.failed"}"#,
    printcolumn = r#"{"name":"Best","type":"string","jsonPath":".status.optimal.trial"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[-1:].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[kube(derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct ExperimentSpec {
    /// Trials at the same time.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10000))]
    pub parallelism: u32,
    /// Trials in all. Without it the search goes on until the goal or the end of the space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub max_trials: Option<u32>,
    /// The experiment fails when more trials than this have failed. Without it no failure ends the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed_trials: Option<u32>,
    /// What is searched for.
    pub objective: Objective,
    /// Who suggests points.
    pub algorithm: Algorithm,
    /// Who gives up on running trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// The space.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub parameters: Vec<Parameter>,
    /// What a trial runs.
    pub trial_template: TrialTemplate,
    /// Where a trial's metrics come from.
    #[serde(default)]
    pub metrics_collector: MetricsCollector,
    /// Whether a finished experiment goes on when `maxTrials` is raised.
    #[serde(default)]
    pub resume_policy: ResumePolicy,
    /// No new trials while true; running ones end.
    #[serde(default)]
    pub suspend: bool,
}

fn default_parallelism() -> u32 {
    3
}

/// What is searched for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// The metric to optimise.
    #[schemars(length(min = 1))]
    pub metric: String,
    /// Whether more is better.
    #[serde(default)]
    pub direction: Direction,
    /// A value at which the search ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// Metrics recorded beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_metrics: Vec<String>,
    /// Which reading of a metric counts. By default the best one by the direction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<MetricStrategy>,
}

/// Whether more is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// Less is better.
    #[default]
    Minimize,
    /// More is better.
    Maximize,
}

/// Which reading of one metric counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricStrategy {
    /// The metric.
    pub metric: String,
    /// The reading.
    pub value: MetricValue,
}

/// A reading out of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MetricValue {
    /// The last one.
    Latest,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// An algorithm and its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Algorithm {
    /// A name that an installed plugin answers to.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What the algorithm takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// The tuner that gives up on running trials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarlyStopping {
    /// A name that an installed plugin answers to.
    #[schemars(length(min = 1))]
    pub algorithm: String,
    /// What the algorithm takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// A name and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, as the user wrote it.
    pub value: String,
}

/// The value of one parameter in one trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// The parameter.
    pub name: String,
    /// The text that goes into the template.
    pub value: String,
}

/// One dimension of the space. Numbers are text, so that none is rounded on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Unique in the experiment.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Which of the other fields count.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Smallest value (double, int).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub min: String,
    /// Largest value (double, int).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub max: String,
    /// Distance of neighbouring values (double, int).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// How probability is spread (double, int).
    #[serde(default)]
    pub scale: Scale,
    /// The values (discrete, categorical).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<String>,
}

/// Kinds of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterType {
    /// Real numbers in a range.
    #[default]
    Double,
    /// Whole numbers in a range.
    Int,
    /// Listed numbers.
    Discrete,
    /// Listed words.
    Categorical,
}

/// How probability, or a step, is spread over a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scale {
    /// Evenly over the values.
    #[default]
    Linear,
    /// Evenly over the logarithm.
    Log,
    /// By a normal distribution.
    Normal,
    /// By a normal distribution over the logarithm.
    LogNormal,
}

/// What a trial runs, and how its end is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrialTemplate {
    /// What `${trialParameters.NAME}` in the object stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<TrialParameter>,
    /// Any object with `apiVersion` and `kind`; its name and namespace are given by the kernel.
    #[schemars(schema_with = "super::any_object")]
    pub object: Map<String, Value>,
    /// The container whose output holds the metrics; by default a Pod's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_container: Option<String>,
    /// Labels of the Pod whose output holds the metrics, where the object has several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub primary_pod_labels: BTreeMap<String, String>,
    /// CEL over `object`: true when the trial succeeded.
    #[schemars(length(min = 1, max = 4096))]
    pub success_condition: String,
    /// CEL over `object`: true when the trial failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub failure_condition: Option<String>,
    /// Keep the object after the trial ended.
    #[serde(default)]
    pub retain: bool,
    /// Put on each Trial.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A name in the template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrialParameter {
    /// The name after `trialParameters.`.
    pub name: String,
    /// A parameter of the experiment, or one of `${trialSpec.Name}` and its like.
    pub reference: String,
}

/// Where a trial's metrics come from, and in what form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsCollector {
    /// Where they come from.
    #[serde(default)]
    pub source: MetricSource,
    /// Regular expressions with two groups, name and value, for the text format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub filter: Vec<String>,
    /// How they are written.
    #[serde(default)]
    pub format: MetricFormat,
    /// The file in the container, for `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Read the output every so many seconds while the trial runs, for early stopping. Zero: only at the end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observe_seconds: u32,
}

fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// Where metrics come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MetricSource {
    /// The primary container's output.
    #[default]
    Stdout,
    /// A file, through the container's termination message.
    File,
    /// The program sends them.
    Push,
    /// Nothing is measured.
    None,
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MetricFormat {
    /// `name=value` in lines of text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a finished experiment goes on when `maxTrials` is raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ResumePolicy {
    /// It stays finished.
    #[default]
    Never,
    /// It goes on.
    LongRunning,
}

/// What came of an experiment so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Created, Running, Suspended, Succeeded and Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many trials are in which state.
    #[serde(default)]
    pub trials: TrialCounts,
    /// The best trial so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimal: Option<OptimalTrial>,
}

/// How many trials are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrialCounts {
    /// All of them.
    pub total: u32,
    /// Created, and their object is not known to run.
    pub pending: u32,
    /// Running.
    pub running: u32,
    /// Ended and measured.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
    /// Ended on advice or because the experiment was over.
    pub early_stopped: u32,
    /// Ended well, without the objective's metric.
    pub metrics_unavailable: u32,
}

/// The best trial so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptimalTrial {
    /// Its name.
    pub trial: String,
    /// Its point.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
    /// What was measured there.
    #[serde(default)]
    pub metrics: Vec<ObservedMetric>,
}
