//! The `Plugin` resource: which component to load, with what configuration and what it may do.
//!
//! Read and written by the plugin loop.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A plugin to pull, check and load.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "purlin.dev",
    version = "v1alpha1",
    kind = "Plugin",
    plural = "plugins",
    status = "PluginStatus",
    category = "purlin",
    doc = "A WebAssembly component that holds what the kernel does not know: a dialect or a stage.",
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.serving.version"}"#,
    printcolumn = r#"{"name":"Stage","type":"string","jsonPath":".status.stages[0]"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Image","type":"string","jsonPath":".spec.image","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[kube(derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct PluginSpec {
    /// Reference in an OCI registry, such as `localhost:7444/purlin/tuner-random:0.1.0`.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Digest that the reference must have. Without it the digest found first is locked in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Passed to every call as JSON.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "super::any_object")]
    pub config: Map<String, Value>,
    /// Capabilities that the plugin may use, by the names in its manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// What one call may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What one call may cost. Each has the sandbox's default where it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Memory of one call, such as `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]*(Ki|Mi|Gi)?$"))]
    pub memory: Option<String>,
    /// Time of one call, such as `5s` or `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]*(ms|s|m)$"))]
    pub deadline: Option<String>,
    /// Size of one answer, such as `8Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]*(Ki|Mi|Gi)?$"))]
    pub output: Option<String>,
    /// Calls at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: Option<u32>,
}

/// The annotation of a Plugin by which a person has it looked at again although its spec is the same, as after a signature
/// was made: any new value, such as the time.
pub const REQUESTED_AT: &str = "purlin.dev/requested-at";

/// What became of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation `purlin.dev/requested-at` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_request: Option<String>,
    /// The reference that `digest` was resolved from; a digest is locked to its reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest in use: the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The plugin's version, from its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of the contract that it was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wit_version: Option<String>,
    /// Stages that it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// Algorithms that it answers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<String>,
    /// Kinds that it reconciles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owned_kinds: Vec<OwnedKind>,
    /// Capabilities that it asks for and has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<String>,
    /// Capabilities that it asks for and has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The version that is called. It is not the one of `digest` where that one could not be loaded, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// The version that was taken back because its calls failed. It is not tried again until the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// Resolved, Verified, Granted and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A version that is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The reference that it was pulled by.
    pub image: String,
    /// Its digest.
    pub digest: String,
    /// The plugin's version.
    pub version: String,
}

/// A version that was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The generation of the spec that asked for it.
    pub generation: i64,
    /// Its digest.
    pub digest: String,
    /// Why it was taken back.
    pub reason: String,
}

/// A kind that a plugin reconciles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnedKind {
    /// The API group.
    pub group: String,
    /// The version that the plugin reads and writes.
    pub version: String,
    /// The kind.
    pub kind: String,
}
