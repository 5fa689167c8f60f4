//! From Model and Route resources to the gateway's routing table. Pure.

use std::time::Duration;

use kube::ResourceExt as _;
use purlin_gateway::{
    BackendConfig, BatchConfig, GraphConfig, LoggingConfig, ModelConfig, NodeConfig, NodeKind, RouteConfig,
    StepConfig, TableConfig,
};
use purlin_kernel::api::{self, LoggingMode, Model, Route, StepData};

/// The table of these resources, in a gateway of this domain.
pub(crate) fn table<'a>(
    models: impl Iterator<Item = &'a Model>,
    routes: impl Iterator<Item = &'a Route>,
    domain: &str,
) -> TableConfig {
    TableConfig {
        routes: routes.map(|one| route(one, domain)).collect(),
        models: models.map(model).collect(),
    }
}

/// Hosts of a route, complete.
pub(crate) fn hosts(route: &Route, domain: &str) -> Vec<String> {
    let complete = |host: &String| match host.strip_suffix('.') {
        Some(host) => format!("{host}.{domain}"),
        None => host.clone(),
    };
    route.spec.hosts.iter().map(complete).collect()
}

fn route(route: &Route, domain: &str) -> RouteConfig {
    let spec = &route.spec;
    let backend = |backend: &api::RouteBackend| BackendConfig {
        model: backend.model.clone(),
        weight: backend.weight,
        tag: backend.tag.clone(),
    };
    RouteConfig {
        namespace: route.namespace().unwrap_or_default(),
        name: route.name_any(),
        hosts: hosts(route, domain),
        backends: spec.backends.iter().map(backend).collect(),
        transformer: spec.transformer.clone(),
        explainer: spec.explainer.clone(),
        models: spec.models.clone(),
        graph: spec.graph.as_ref().map(graph),
        timeout: spec.timeout_seconds.map(seconds),
        tokens: None,
        sticky: None,
    }
}

fn graph(graph: &api::Graph) -> GraphConfig {
    let node = |node: &api::GraphNode| NodeConfig {
        kind: match node.kind {
            api::NodeKind::Sequence => NodeKind::Sequence,
            api::NodeKind::Switch => NodeKind::Switch,
            api::NodeKind::Ensemble => NodeKind::Ensemble,
            api::NodeKind::Splitter => NodeKind::Splitter,
        },
        steps: node.steps.iter().map(step).collect(),
    };
    GraphConfig { nodes: graph.nodes.iter().map(|(name, of)| (name.clone(), node(of))).collect() }
}

fn step(step: &api::GraphStep) -> StepConfig {
    StepConfig {
        name: step.name.clone(),
        route: step.route.clone(),
        node: step.node.clone(),
        url: step.url.clone(),
        takes_response: step.data == StepData::Response,
        condition: step.condition.clone(),
        weight: step.weight,
        required: step.required,
    }
}

fn model(model: &Model) -> ModelConfig {
    let spec = &model.spec;
    let logging = |logging: &api::PayloadLogging| LoggingConfig {
        url: logging.url.clone(),
        requests: logging.mode != LoggingMode::Response,
        responses: logging.mode != LoggingMode::Request,
        service: None,
        component: "predictor".to_owned(),
        endpoint: "default".to_owned(),
    };
    ModelConfig {
        namespace: model.namespace().unwrap_or_default(),
        name: model.name_any(),
        served_name: spec.model_name.clone(),
        version: spec.version.clone().unwrap_or_default(),
        container: spec.container.is_some(),
        timeout: spec.timeout_seconds.map(seconds),
        concurrency: spec.scaling.concurrency,
        queue: 0,
        batching: spec.batching.as_ref().map(|batching| BatchConfig {
            max_size: batching.max_batch_size,
            max_latency: Duration::from_millis(u64::from(batching.max_latency_millis)),
        }),
        logging: spec.logging.as_ref().map(logging),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
