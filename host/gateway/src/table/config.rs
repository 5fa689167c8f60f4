//! What a routing table is made of: routes and models in plain structs, as their resources have them.

use std::collections::BTreeMap;
use std::time::Duration;

/// All routes and models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableConfig {
    /// Ways to models.
    pub routes: Vec<RouteConfig>,
    /// How models are asked. A model that a route names and that is not here is asked by the object's name.
    pub models: Vec<ModelConfig>,
}

/// A way to models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteConfig {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Complete hosts. `*` is every host that no route has.
    pub hosts: Vec<String>,
    /// Complete hosts that routes of the namespace share: who has the model by the name in a request answers it.
    pub shared_hosts: Vec<String>,
    /// A header that names the model where the request itself does not.
    pub model_header: Option<String>,
    /// Who answers.
    pub backends: Vec<BackendConfig>,
    /// A model that is given the requests instead. It asks the backends under the tag `predictor`.
    pub transformer: Option<String>,
    /// A model that explains.
    pub explainer: Option<String>,
    /// Models that answer by their own names, beside the backends.
    pub models: Vec<String>,
    /// Several models as one.
    pub graph: Option<GraphConfig>,
    /// A request takes at most so long.
    pub timeout: Option<Duration>,
    /// The bearer tokens that are let in; `None` lets everybody in.
    pub tokens: Option<Vec<String>>,
    /// What requests have in common that go to the same backend.
    pub sticky: Option<Sticky>,
}

/// A model and its share of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendConfig {
    /// A Model of the same namespace.
    pub model: String,
    /// In parts of the sum of all weights.
    pub weight: u32,
    /// Under `TAG-` before the first host, all requests go to this model.
    pub tag: Option<String>,
}

/// What requests have in common that go to the same backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// The value of a header; `x-request-id` for one.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
}

/// How a model is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelConfig {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Models with the same group are answered for by the same gateway, where several share the models among them. By default
    /// the object's namespace and name.
    pub group: Option<String>,
    /// The name in requests. By default the object's.
    pub served_name: Option<String>,
    /// The version that metadata show; empty for none.
    pub version: String,
    /// Whether containers serve it, to which requests are forwarded as they are.
    pub container: bool,
    /// A request takes at most so long.
    pub timeout: Option<Duration>,
    /// Requests at once; 0 for the gateway's own limit.
    pub concurrency: u32,
    /// Requests that wait; 0 for the gateway's own limit.
    pub queue: u32,
    /// Whether requests that come close together are computed together.
    pub batching: Option<BatchConfig>,
    /// Where requests and answers are sent.
    pub logging: Option<LoggingConfig>,
    /// Whether prompts go to the replica that was given most of them before.
    pub by_prefix: bool,
    /// Who reads prompts for it.
    pub prefill: Option<PrefillConfig>,
}

/// Replicas that read prompts for those of another model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefillConfig {
    /// A Model of the same namespace.
    pub model: String,
    /// The header that tells which replica. One that is no name of a header is as none.
    pub header: String,
}

/// How requests are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Instances in one batch at most.
    pub max_size: u32,
    /// The first of a batch waits for others at most so long.
    pub max_latency: Duration,
}

/// Where payloads are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingConfig {
    /// Receives CloudEvents over HTTP.
    pub url: String,
    /// Whether requests are sent.
    pub requests: bool,
    /// Whether answers are sent.
    pub responses: bool,
    /// The attribute `inferenceservicename`. By default the route's name.
    pub service: Option<String>,
    /// The attribute `component`, such as `predictor`.
    pub component: String,
    /// The attribute `endpoint`, such as `default`.
    pub endpoint: String,
}

/// Several models as one: a request enters at `root`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphConfig {
    /// By name; one is `root`.
    pub nodes: BTreeMap<String, NodeConfig>,
}

/// A node of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// What it does with its steps.
    pub kind: NodeKind,
    /// In order.
    pub steps: Vec<StepConfig>,
}

/// What a node does with its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeKind {
    /// One after the other; the last one's answer is the node's.
    #[default]
    Sequence,
    /// The first step whose condition holds.
    Switch,
    /// All at once; the answers are put together by the steps' names.
    Ensemble,
    /// One of them, by weight.
    Splitter,
}

/// A step of a node. Exactly one of `route`, `node` and `url` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepConfig {
    /// Names its answer in an ensemble's.
    pub name: Option<String>,
    /// A Route of the same namespace.
    pub route: Option<String>,
    /// Another node.
    pub node: Option<String>,
    /// A server elsewhere.
    pub url: Option<String>,
    /// Whether it is given the answer of the step before it, instead of what the node was given.
    pub takes_response: bool,
    /// A GJSON path: the step is taken where it finds something.
    pub condition: Option<String>,
    /// Its share in a splitter.
    pub weight: Option<u32>,
    /// Whether the node fails where the step does; otherwise its error is the answer.
    pub required: bool,
}
