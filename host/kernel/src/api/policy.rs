//! The `PluginPolicy` resource: which plugins must be signed and by whom, where else they are, and what is shown to
//! registries.
//!
//! Read by the plugin loop, and by the command line from a file of the same form.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use purlin_registry::mirror::MirrorRule;
use purlin_registry::policy::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules about plugins by the prefix of their reference. The rules of all policies hold together.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "purlin.dev",
    version = "v1alpha1",
    kind = "PluginPolicy",
    plural = "pluginpolicies",
    status = "PluginPolicyStatus",
    category = "purlin",
    doc = "Which plugins must be signed and by whom, where else they are, and what is shown to registries.",
    printcolumn = r#"{"name":"Prefixes","type":"string","jsonPath":".spec.rules[*].prefix"}"#,
    printcolumn = r#"{"name":"Modes","type":"string","jsonPath":".spec.rules[*].mode"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[kube(derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct PluginPolicySpec {
    /// Who must have signed which plugins; of all rules, those with the longest prefix count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub rules: Vec<Rule>,
    /// Where plugins are besides their own registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub mirrors: Vec<MirrorRule>,
    /// Secrets of the type `kubernetes.io/dockerconfigjson` that are shown to registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pull_secrets: Vec<PullSecret>,
}

/// A Secret with credentials for registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Whether a policy can be used as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginPolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: every key, mirror and Secret in it can be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
