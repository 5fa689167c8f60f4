//! From Model and Route resources to the gateway's routing table. Pure.

use std::collections::HashMap;
use std::time::Duration;

use kube::ResourceExt as _;
use purlin_gateway::{
    BackendConfig, BatchConfig, GraphConfig, LoggingConfig, ModelConfig, NodeConfig, NodeKind, PrefillConfig,
    RouteConfig, StepConfig, TableConfig,
};
use purlin_kernel::api::{self, Balancing, LoggingMode, Model, Route, StepData};

/// The tokens of routes, by namespace and name.
pub(crate) type Tokens = HashMap<(String, String), Vec<String>>;

/// The table of these resources, in a gateway of this domain. `tokens` has those that a route with `auth` lets in, by
/// namespace and name; a route that is not there lets nobody in.
pub(crate) fn table<'a>(
    models: impl Iterator<Item = &'a Model>,
    routes: impl Iterator<Item = &'a Route>,
    domain: &str,
    tokens: &Tokens,
) -> TableConfig {
    TableConfig {
        routes: routes.map(|one| route(one, domain, tokens)).collect(),
        models: models.map(model).collect(),
    }
}

/// Hosts of a route, complete.
pub(crate) fn complete(hosts: &[String], domain: &str) -> Vec<String> {
    let complete = |host: &String| match host.strip_suffix('.') {
        Some(host) => format!("{host}.{domain}"),
        None => host.clone(),
    };
    hosts.iter().map(complete).collect()
}

fn route(route: &Route, domain: &str, tokens: &Tokens) -> RouteConfig {
    let spec = &route.spec;
    let key = (route.namespace().unwrap_or_default(), route.name_any());
    let backend = |backend: &api::RouteBackend| BackendConfig {
        model: backend.model.clone(),
        weight: backend.weight,
        tag: backend.tag.clone(),
    };
    RouteConfig {
        namespace: route.namespace().unwrap_or_default(),
        name: route.name_any(),
        hosts: complete(&spec.hosts, domain),
        shared_hosts: complete(&spec.shared_hosts, domain),
        model_header: spec.model_header.clone(),
        backends: spec.backends.iter().map(backend).collect(),
        transformer: spec.transformer.clone(),
        explainer: spec.explainer.clone(),
        models: spec.models.clone(),
        graph: spec.graph.as_ref().map(graph),
        timeout: spec.timeout_seconds.map(seconds),
        tokens: spec.auth.as_ref().map(|_| tokens.get(&key).cloned().unwrap_or_default()),
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

/// What says which gateway a model belongs to: its namespace and whoever made it, so that the revisions of one service are
/// together.
pub(crate) fn group(model: &Model) -> String {
    let owners = model.owner_references();
    let controller = owners.iter().find(|owner| owner.controller == Some(true));
    let own = controller.map_or_else(|| model.name_any(), |owner| owner.name.clone());
    format!("{}/{own}", model.namespace().unwrap_or_default())
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
        group: Some(group(model)),
        served_name: spec.model_name.clone(),
        version: spec.version.clone().unwrap_or_default(),
        container: spec.container.is_some(),
        timeout: spec.timeout_seconds.map(seconds),
        // Replicas of containers have their limits each, and their number changes.
        concurrency: if spec.container.is_some() { 0 } else { spec.scaling.concurrency },
        queue: 0,
        batching: spec.batching.as_ref().map(|batching| BatchConfig {
            max_size: batching.max_batch_size,
            max_latency: Duration::from_millis(u64::from(batching.max_latency_millis)),
        }),
        logging: spec.logging.as_ref().map(logging),
        by_prefix: spec.balancing == Balancing::PrefixCache,
        prefill: spec
            .prefill
            .as_ref()
            .map(|prefill| PrefillConfig { model: prefill.model.clone(), header: prefill.header.clone() }),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

#[cfg(test)]
mod tests {
    use purlin_kernel::api::{Route, RouteAuth, RouteSpec};

    use super::{Tokens, complete, table};

    fn route(auth: Option<RouteAuth>) -> Route {
        let spec = RouteSpec {
            hosts: vec!["web.team.".to_owned(), "web.example.com".to_owned()],
            auth,
            ..RouteSpec::default()
        };
        let mut route = Route::new("web", spec);
        route.metadata.namespace = Some("team".to_owned());
        route
    }

    #[test]
    fn a_host_that_ends_in_a_dot_has_the_domain_behind_it() {
        let hosts = route(None).spec.hosts;
        assert_eq!(complete(&hosts, "localhost"), ["web.team.localhost", "web.example.com"]);
    }

    #[test]
    fn a_route_with_auth_lets_nobody_in_without_a_token_that_was_read() {
        let built = |route: &Route, tokens: &Tokens| {
            table(std::iter::empty(), std::iter::once(route), "localhost", tokens).routes[0].tokens.clone()
        };
        let guarded = route(Some(RouteAuth { secrets: vec!["tokens".to_owned()] }));
        assert_eq!(built(&route(None), &Tokens::new()), None);
        assert_eq!(built(&guarded, &Tokens::new()), Some(Vec::new()));
        let read = Tokens::from([(("team".to_owned(), "web".to_owned()), vec!["one".to_owned()])]);
        assert_eq!(built(&guarded, &read), Some(vec!["one".to_owned()]));
    }
}
