//! The `Route` resource: under which names and paths models are reached, and who gets which share of the requests.
//!
//! Read by the gateway; its status is written by the route loop.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to models. A route answers under its hosts, and under `/serving/NAMESPACE/NAME/` on any host.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "purlin.dev",
    version = "v1alpha1",
    kind = "Route",
    plural = "routes",
    namespaced,
    status = "RouteStatus",
    category = "purlin",
    doc = "A way to models: the hosts that it answers under, and who gets which share of the requests.",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".status.url"}"#,
    printcolumn = r#"{"name":"Path","type":"string","jsonPath":".status.pathUrl","priority":1}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[kube(derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// Hosts that it answers under, each with the gateway's domain behind it where it ends in a dot: `web.team.` is
    /// `web.team.localhost` where the domain is `localhost`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub hosts: Vec<String>,
    /// Hosts, in the same form, that routes of the namespace share: the one that has the model by the name in a request
    /// answers it. `timeoutSeconds` of a route does not count there, and one with `auth` or a graph cannot share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub shared_hosts: Vec<String>,
    /// A header (in gRPC: metadata) that names the model where the request itself does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub model_header: Option<String>,
    /// Who answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub backends: Vec<RouteBackend>,
    /// A Model that is given the requests instead, and asks the backends itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer: Option<String>,
    /// A Model that explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explainer: Option<String>,
    /// Models that answer by their own names under the route's hosts, beside the backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10000))]
    pub models: Vec<String>,
    /// Several models as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Graph>,
    /// A request takes at most so long, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: Option<u32>,
    /// Who may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RouteAuth>,
}

/// A model and its share of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    /// A Model of the same namespace.
    pub model: String,
    /// Its share, in parts of the sum of all weights.
    #[serde(default = "whole")]
    #[schemars(range(min = 0, max = 10000))]
    pub weight: u32,
    /// Under `TAG-` before the first host, all requests go to this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

fn whole() -> u32 {
    100
}

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteAuth {
    /// Secrets of the same namespace; each value is a bearer token that is let in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// Several models as one: a request enters at `root`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// By name; one is `root`.
    pub nodes: BTreeMap<String, GraphNode>,
}

/// A node of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// What it does with its steps.
    pub kind: NodeKind,
    /// In order.
    pub steps: Vec<GraphStep>,
}

/// What a node does with its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
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

/// A step of a node: a route, a node, or a server elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphStep {
    /// Names its answer in an ensemble's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A Route of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A server elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the step is given: the request, or the answer of the step before it. The first step has the request.
    #[serde(default)]
    pub data: StepData,
    /// A GJSON path over what the step is given: the step is taken where it finds something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Its share in a splitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Whether the node fails where the step does; otherwise its error is the answer.
    #[serde(default)]
    pub required: bool,
}

/// What a step is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepData {
    /// What the node was given.
    #[default]
    Request,
    /// The answer of the step before.
    Response,
}

/// What came of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The generation that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The same as a path on the gateway's own address, for those who cannot resolve the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_url: Option<String>,
    /// Where it answers over gRPC: host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_address: Option<String>,
}
