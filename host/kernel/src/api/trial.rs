//! The `Trial` resource: one point of an experiment, the object that tries it, and what was measured.
//!
//! Created by the experiment loop, run by the trial loop.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::experiment::{Assignment, MetricsCollector, Objective};

/// One point of an experiment.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "purlin.dev",
    version = "v1alpha1",
    kind = "Trial",
    plural = "trials",
    namespaced,
    status = "TrialStatus",
    category = "purlin",
    doc = "One point of an experiment: the object that tries it, and what was measured.",
    printcolumn = r#"{"name":"Experiment","type":"string","jsonPath":".metadata.labels.purlin\\.dev/experiment"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[-1:].type"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[-1:].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[kube(derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct TrialSpec {
    /// Place in the experiment, from 0.
    pub index: u32,
    /// The point.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
    /// The object to run, without placeholders.
    #[schemars(schema_with = "super::any_object")]
    pub object: Map<String, Value>,
    /// What is searched for, from the experiment.
    pub objective: Objective,
    /// Where the metrics come from, from the experiment.
    #[serde(default)]
    pub metrics_collector: MetricsCollector,
    /// The container whose output holds the metrics; by default a Pod's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_container: Option<String>,
    /// Labels of the Pod whose output holds the metrics, where the object has several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub primary_pod_labels: BTreeMap<String, String>,
    /// CEL over `object`: true when the trial succeeded.
    pub success_condition: String,
    /// CEL over `object`: true when the trial failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_condition: Option<String>,
    /// Keep the object after the trial ended.
    #[serde(default)]
    pub retain: bool,
    /// End the trial early: what was measured is collected, and its object is deleted.
    #[serde(default)]
    pub stop: bool,
}

/// What came of a trial so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrialStatus {
    /// When its object was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Created, Running, Succeeded, Failed, EarlyStopped and MetricsUnavailable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What was measured, in the text that the program printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<ObservedMetric>,
    /// The readings, thinned to 256 a metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
}

/// One metric over a whole trial, in the text that the program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedMetric {
    /// The metric.
    pub name: String,
    /// The last reading.
    pub latest: String,
    /// The smallest reading.
    pub min: String,
    /// The largest reading.
    pub max: String,
}

/// One reading of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// The metric.
    pub metric: String,
    /// Counts the readings of this metric, from 0.
    pub step: u64,
    /// The reading, as the program printed it.
    pub value: String,
}
