//! The `Model` resource: one version of something that answers inference requests, and how much of it there should be.
//!
//! A model is served by a plugin of the stage `serving-runtime`, in the gateway's own process, or by containers that the
//! gateway forwards to. Requests reach it through a [`Route`](super::Route). Read and written by the model loop, read by
//! the gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::experiment::Setting;

/// Something that answers inference requests.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "purlin.dev",
    version = "v1alpha1",
    kind = "Model",
    plural = "models",
    namespaced,
    status = "ModelStatus",
    category = "purlin",
    doc = "Something that answers inference requests: a model that a plugin serves, or containers.",
    printcolumn = r#"{"name":"Format","type":"string","jsonPath":".spec.format.name"}"#,
    printcolumn = r#"{"name":"Runtime","type":"string","jsonPath":".status.runtime"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.replicas"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[kube(derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct ModelSpec {
    /// The name in requests. By default the object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub model_name: Option<String>,
    /// The version that metadata show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The format, by which a plugin is found. Required where there is no `container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ModelFormat>,
    /// The Plugin that serves it. By default one that serves the format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Where its files are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ModelSource>,
    /// Passed to the plugin: flags with their value, and environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub settings: Vec<Setting>,
    /// Where graphs are computed. By default on a graphics processor where one is requested or none is needed, and on the
    /// processor otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<ModelDevice>,
    /// Containers that serve it, instead of a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ModelContainer>,
    /// What the model explains, for a plugin of the stage `explainer`: a Model of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explains: Option<String>,
    /// The model whose requests and answers it changes, for a plugin of the stage `transformer`, which `runtime` names: a Model of
    /// the same namespace. A Route sends requests this way where it names this Model as its `transformer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transforms: Option<String>,
    /// How many replicas there are.
    #[serde(default)]
    pub scaling: Scaling,
    /// Which of the replicas answers a request, where containers serve.
    #[serde(default)]
    pub balancing: Balancing,
    /// Replicas of another Model that read prompts, so that those of this one only write answers. For containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<Prefill>,
    /// Whether requests that come close together are computed together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// A request takes at most so long, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: Option<u32>,
    /// Where requests and answers are sent as CloudEvents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<PayloadLogging>,
    /// Whether what it is asked is compared with what it was asked at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
}

/// How requests to a model are watched. Rows of the first numeric input of each request are looked at: the first ones are the
/// reference, the last ones are compared with it. The condition `Drift` says what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// The method, by which a plugin of the stage `monitor` is found.
    #[schemars(length(min = 1, max = 63))]
    pub method: String,
    /// The Plugin. By default one that has the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Passed to the plugin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub settings: Vec<Setting>,
    /// Rows of the reference.
    #[serde(default = "default_reference")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub reference_rows: u32,
    /// Rows that are compared with it.
    #[serde(default = "default_window")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub window_rows: u32,
}

fn default_reference() -> u32 {
    1000
}

fn default_window() -> u32 {
    500
}

/// A format and its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelFormat {
    /// Such as `onnx`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Such as `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where a model's files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelSource {
    /// `file:`, `pvc:`, `http(s):`, `s3:`, `gs:`, `hf:` or `oci:`, as docs/models.md says.
    #[schemars(length(min = 1, max = 4096))]
    pub uri: String,
    /// A Secret of the same namespace with credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The key of the Secret that counts, where its value is a JSON object of settings, or a token. Without it each key is
    /// a setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_key: Option<String>,
    /// `sha256:...` of the file; for a folder that of what `sha256sum` prints for its files in the order of their names.
    /// Checked where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Where graphs are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelDevice {
    /// The processor.
    Cpu,
    /// A graphics processor.
    Gpu,
}

/// Containers that serve a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelContainer {
    /// Of each replica's Pod: `metadata` and `spec`.
    #[schemars(schema_with = "super::any_object")]
    pub template: Map<String, Value>,
    /// Where it listens for HTTP.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where it listens for gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_port: Option<u16>,
    /// Where the container that listens finds the files of `source`.
    #[serde(default = "default_mount")]
    #[schemars(length(min = 1, max = 4096))]
    pub mount_path: String,
}

/// Which replica answers a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Balancing {
    /// The one that has the fewest.
    #[default]
    LeastRequests,
    /// The one that was given most of the prompt before, and so has most of it in its cache, while it has not much more to do
    /// than the others. Requests that are no prompts go to the one that has the fewest.
    PrefixCache,
}

/// Replicas that read prompts for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prefill {
    /// A Model of the same namespace that containers serve. While none of its replicas can answer, the requests are handed on
    /// without one.
    #[schemars(length(min = 1, max = 253))]
    pub model: String,
    /// The header that tells the container which replica: `HOST:PORT`.
    #[serde(default = "default_prefill_header")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub header: String,
}

/// What servers that split the work have agreed upon.
fn default_prefill_header() -> String {
    "x-prefiller-host-port".to_owned()
}

fn default_mount() -> String {
    "/mnt/models".to_owned()
}

fn default_port() -> u16 {
    8080
}

/// How many replicas a model has. A replica in the gateway is a copy of the model in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// At least so many. With 0 a model that nobody asks takes no memory, and the next request wakes it.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// At most so many; 0 for no limit.
    #[serde(default)]
    pub max_replicas: u32,
    /// What is measured.
    #[serde(default)]
    pub metric: ScalingMetric,
    /// How much of it a replica should have: requests at once, or requests a second. By default 100 requests at once or
    /// 200 a second, of which 70 in a hundred are aimed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Requests that a replica handles at once; more wait. 0 for no limit.
    #[serde(default)]
    pub concurrency: u32,
    /// A model without requests goes after so many seconds, where `minReplicas` is 0.
    #[serde(default = "default_idle")]
    #[schemars(range(min = 1, max = 86400))]
    pub idle_seconds: u32,
}

impl Default for Scaling {
    fn default() -> Self {
        Scaling {
            min_replicas: one(),
            max_replicas: 0,
            metric: ScalingMetric::default(),
            target: None,
            concurrency: 0,
            idle_seconds: default_idle(),
        }
    }
}

fn one() -> u32 {
    1
}

fn default_idle() -> u32 {
    30
}

/// What is measured to decide how many replicas there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScalingMetric {
    /// Requests at once.
    #[default]
    Concurrency,
    /// Requests a second.
    Rps,
}

/// How requests are put together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Instances in one batch at most.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_batch_size: u32,
    /// The first of a batch waits for others at most so long, in milliseconds.
    #[serde(default = "default_latency")]
    #[schemars(range(min = 0, max = 60000))]
    pub max_latency_millis: u32,
}

fn default_batch() -> u32 {
    32
}

fn default_latency() -> u32 {
    5
}

/// Where payloads are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PayloadLogging {
    /// Receives CloudEvents over HTTP.
    pub url: String,
    /// Which payloads.
    #[serde(default)]
    pub mode: LoggingMode,
}

/// Which payloads are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoggingMode {
    /// Requests and answers.
    #[default]
    All,
    /// Requests.
    Request,
    /// Answers.
    Response,
}

/// What came of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// The generation that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Resolved`, `Loaded`, `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The Plugin that serves it, or `containers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Copies or Pods that can answer.
    #[serde(default)]
    pub replicas: u32,
    /// What the source had when it was last read: `sha256:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Memory that a copy takes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<i64>,
    /// When it first could answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<Time>,
    /// What it would need, by what it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<Recommendation>,
}

/// Resources that a replica would need, in Kubernetes quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// Enough nine times in ten.
    pub target: ResourceAmounts,
    /// Less would be too little half of the time.
    pub lower_bound: ResourceAmounts,
    /// More would be of no use.
    pub upper_bound: ResourceAmounts,
}

/// Processor and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceAmounts {
    /// Such as `250m`.
    pub cpu: String,
    /// Such as `64Mi`.
    pub memory: String,
}
