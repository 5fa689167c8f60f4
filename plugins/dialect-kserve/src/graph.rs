//! An InferenceGraph: one Route whose nodes ask the Routes of InferenceServices.

use std::collections::BTreeSet;

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{
    Event, Fault, FieldError, Object as _, Selector, Severity, SyncRequest, SyncResponse, fault,
};

use crate::knative::{Living, State};
use crate::names::{self, STOP, V1ALPHA1, V1BETA1};
use crate::{routes, validate};

/// Where a request enters.
const ROOT: &str = "root";

/// What `Ready` sums up.
const DEPENDENTS: &[&str] = &["ConfigurationsReady", "RoutesReady"];
/// Where the graph was stopped.
const NONE: &[&str] = &["RoutesReady"];

/// What KServe gives the Pod of its router. Here the gateway takes requests through a graph, in no Pod of the graph's own.
const OF_A_ROUTER: &[&str] = &[
    "resources",
    "affinity",
    "tolerations",
    "nodeSelector",
    "nodeName",
    "serviceAccountName",
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "routerTimeouts",
];

/// The services that its steps name.
pub(crate) fn related(graph: &Value) -> Vec<Selector> {
    let names: BTreeSet<&str> = named(graph).map(|(_, name)| name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let select = |api_version: &str, kind: &str| Selector {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        labels: String::new(),
    };
    vec![select(V1BETA1, "InferenceService"), select(V1ALPHA1, "InferenceGraph")]
}

/// The names of services in a graph, with the fields that have them.
fn named(graph: &Value) -> impl Iterator<Item = (String, &str)> {
    let nodes = graph.at(&["spec", "nodes"]).and_then(Value::as_object);
    nodes.into_iter().flatten().flat_map(|(node, each)| {
        each.items(&["steps"]).iter().enumerate().filter_map(move |(index, step)| {
            let name = step.text(&["serviceName"]);
            (!name.is_empty()).then(|| (format!("spec.nodes.{node}.steps[{index}].serviceName"), name))
        })
    })
}

/// Translates.
///
/// # Errors
/// Fields that the user must correct.
pub(crate) fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
    let graph = &request.parent;
    fault::check(validated(graph))?;
    if graph.annotation(STOP).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let mut conditions = Living::of(graph, NONE, request.context.now_ms);
        conditions.set("RoutesReady", State::fails("Stopped", ""));
        conditions.set("Stopped", State::holds());
        let status = status(graph, conditions, None);
        return Ok(SyncResponse { status: Some(status), ..SyncResponse::default() });
    }
    let route = route(graph);
    let observed = routes::observed(request, graph.name());
    let mut conditions = Living::of(graph, DEPENDENTS, request.context.now_ms);
    let services = services(graph, &request.related);
    conditions.set(
        "ConfigurationsReady",
        match observed {
            None if services.is_true() => State::pending("", ""),
            _ => services.clone(),
        },
    );
    conditions.set("RoutesReady", State::observed(observed, "Ready"));
    conditions.set("Stopped", State::fails("", ""));
    let ready = conditions.ready();
    let url =
        observed.map(|route| route.text(&["status", "url"])).filter(|url| ready.is_true() && !url.is_empty());
    let events = events(graph, &ready, &services);
    let status = status(graph, conditions, url);
    Ok(SyncResponse { children: vec![route], status: Some(status), events, ..SyncResponse::default() })
}

/// Whether the services that the steps name are there, and were ready once: KServe's router, too, begins with services that
/// are ready, and does not mind later whether one of them is.
fn services(graph: &Value, related: &[Value]) -> State {
    let found = |name: &str| {
        let kinds = [(V1BETA1, "InferenceService"), (V1ALPHA1, "InferenceGraph")];
        let is = |object: &&Value| kinds.iter().any(|(version, kind)| object.is(version, kind));
        related.iter().filter(is).find(|object| object.name() == name)
    };
    if let Some((field, name)) = named(graph).find(|(_, name)| found(name).is_none()) {
        let message = format!(
            "{field}: \"{name}\": there is no InferenceService of this name in namespace {}: create it there, or name \
             another",
            graph.namespace()
        );
        return State::fails("ServiceNotFound", message);
    }
    if graph.is_true("Ready") && !is_news(graph) {
        return State::holds();
    }
    let ready = |name: &str| found(name).is_some_and(|service| service.is_true("Ready"));
    match named(graph).find(|(_, name)| !ready(name)) {
        Some((field, name)) => {
            State::pending("ServiceNotReady", format!("{field}: \"{name}\" is not ready yet"))
        }
        None => State::holds(),
    }
}

/// Whether the spec was not seen yet.
fn is_news(graph: &Value) -> bool {
    let seen = graph.int(&["status", "observedGeneration"]);
    seen.is_none() || seen != graph.int(&["metadata", "generation"])
}

fn status(graph: &Value, conditions: Living<'_>, url: Option<&str>) -> Value {
    let mut status = Map::new();
    status.insert(
        "observedGeneration".to_owned(),
        graph.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    status.insert("deploymentMode".to_owned(), names::deployment_mode(graph).into());
    if let Some(url) = url {
        status.insert("url".to_owned(), url.into());
    }
    status.into()
}

fn route(graph: &Value) -> Value {
    let mut spec = Map::new();
    spec.insert("hosts".to_owned(), names::hosts(graph.name(), graph.namespace()));
    let nodes = graph.at(&["spec", "nodes"]).and_then(Value::as_object);
    let nodes: Map<String, Value> =
        nodes.into_iter().flatten().map(|(name, each)| (name.clone(), node(each))).collect();
    spec.insert("graph".to_owned(), json!({"nodes": nodes}));
    if let Some(seconds) = graph.int(&["spec", "timeout"]) {
        spec.insert("timeoutSeconds".to_owned(), seconds.into());
    }
    let labels = json!({"serving.kserve.io/inferencegraph": graph.name()});
    names::generic("Route", graph.name(), labels, json!({}), spec.into())
}

fn node(node: &Value) -> Value {
    let kind = match node.text(&["routerType"]) {
        "Switch" => "switch",
        "Ensemble" => "ensemble",
        "Splitter" => "splitter",
        _ => "sequence",
    };
    let steps: Vec<Value> = node.items(&["steps"]).iter().map(step).collect();
    json!({"kind": kind, "steps": steps})
}

fn step(step: &Value) -> Value {
    let mut generic = Map::new();
    for (field, of) in [
        ("name", "name"),
        ("serviceName", "route"),
        ("nodeName", "node"),
        ("serviceUrl", "url"),
        ("condition", "condition"),
    ] {
        let text = step.text(&[field]);
        if !text.is_empty() {
            generic.insert(of.to_owned(), text.into());
        }
    }
    // `$response.predictions` is the response too: KServe hands on all of it.
    let data = if step.text(&["data"]).starts_with("$response") { "response" } else { "request" };
    generic.insert("data".to_owned(), data.into());
    if let Some(weight) = step.int(&["weight"]) {
        generic.insert("weight".to_owned(), weight.into());
    }
    generic.insert("required".to_owned(), (step.text(&["dependency"]) == "Hard").into());
    generic.into()
}

/// What KServe's webhook refuses, and nodes that do not end.
fn validated(graph: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate::name(graph, &mut errors);
    let Some(nodes) =
        graph.at(&["spec", "nodes"]).and_then(Value::as_object).filter(|nodes| nodes.contains_key(ROOT))
    else {
        let reason = "root node not found: a graph needs a node called root, where requests enter";
        errors.push(fault::field("spec.nodes", "", reason));
        return errors;
    };
    for (name, node) in nodes {
        let path = format!("spec.nodes.{name}");
        let splitter = node.text(&["routerType"]) == "Splitter";
        if node.items(&["steps"]).is_empty() {
            errors.push(fault::field(format!("{path}.steps"), "", "a node needs a step: say whom it asks"));
        }
        let (mut seen, mut sum) = (BTreeSet::new(), 0_i64);
        for (index, step) in node.items(&["steps"]).iter().enumerate() {
            let path = format!("{path}.steps[{index}]");
            let step_name = step.text(&["name"]);
            if !step_name.is_empty() && !seen.insert(step_name) {
                let reason = "another step of this node has the name: give each its own";
                errors.push(fault::field(format!("{path}.name"), step_name, reason));
            }
            let targets = ["nodeName", "serviceName", "serviceUrl"];
            let set: Vec<&str> =
                targets.into_iter().filter(|field| !step.text(&[field]).is_empty()).collect();
            match set.as_slice() {
                [] => errors.push(fault::field(
                    &path,
                    "",
                    "it asks nobody: set serviceName, nodeName or serviceUrl",
                )),
                ["serviceUrl"] if !is_http(step.text(&["serviceUrl"])) => {
                    let reason = "it must begin with http:// or https://";
                    errors.push(fault::field(
                        format!("{path}.serviceUrl"),
                        step.text(&["serviceUrl"]),
                        reason,
                    ));
                }
                [_] => {}
                [_, second, ..] => {
                    let reason = format!("a step asks one: set only one of {}", set.join(", "));
                    errors.push(fault::field(format!("{path}.{second}"), step.text(&[second]), reason));
                }
            }
            let target = step.text(&["nodeName"]);
            if !target.is_empty() && !nodes.contains_key(target) {
                errors.push(fault::field(
                    format!("{path}.nodeName"),
                    target,
                    "spec.nodes has no node of this name",
                ));
            }
            if step.at(&["mapPredictionsToInstances"]).and_then(Value::as_bool) == Some(true) {
                let reason = "predictions are not made instances here: let the step's service take the answer as it is";
                errors.push(fault::field(format!("{path}.mapPredictionsToInstances"), "true", reason));
            }
            match step.int(&["weight"]) {
                Some(weight) if weight >= 0 => sum = sum.saturating_add(weight),
                Some(weight) => {
                    errors.push(fault::field(
                        format!("{path}.weight"),
                        weight.to_string(),
                        "it cannot be negative",
                    ));
                }
                None if splitter => {
                    errors.push(fault::field(
                        format!("{path}.weight"),
                        "",
                        "a step of a splitter has a weight",
                    ));
                }
                None => {}
            }
        }
        if splitter && sum != 100 && !node.items(&["steps"]).is_empty() {
            let reason = "the sum of traffic weights for all routing targets should be 100";
            errors.push(fault::field(format!("{path}.steps"), sum.to_string(), reason));
        }
    }
    if let Some(name) = circle(nodes) {
        let reason = "a request to this node would come back to it: let its steps lead on";
        errors.push(fault::field(format!("spec.nodes.{name}.steps"), name, reason));
    }
    errors
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// A node that leads back to itself.
fn circle(nodes: &Map<String, Value>) -> Option<&str> {
    nodes.keys().map(String::as_str).find(|start| {
        let mut reached = BTreeSet::new();
        let mut open = vec![*start];
        while let Some(name) = open.pop() {
            for step in nodes.get(name).into_iter().flat_map(|node| node.items(&["steps"])) {
                let next = step.text(&["nodeName"]);
                if !next.is_empty() && reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached.contains(start)
    })
}

/// What has no effect, once for each spec, a service that is not there, and each turn of the readiness.
fn events(graph: &Value, ready: &State, services: &State) -> Vec<Event> {
    let name = graph.name();
    let mut events = Vec::new();
    let mut tell = |severity, reason: &str, message: String| {
        events.push(Event { severity, reason: reason.to_owned(), message });
    };
    let ignored: Vec<String> = OF_A_ROUTER
        .iter()
        .filter(|field| graph.at(&["spec", field]).is_some())
        .map(|field| format!("spec.{field}"))
        .collect();
    if is_news(graph) && !ignored.is_empty() {
        let has = if ignored.len() == 1 { "has" } else { "have" };
        let message =
            format!("{} {has} no effect: the gateway takes requests through a graph", ignored.join(", "));
        tell(Severity::Warning, "NoEffect", message);
    }
    if services.is_new_failure(graph, "ConfigurationsReady") {
        tell(Severity::Warning, &services.reason, services.message.clone());
    }
    match (graph.is_true("Ready"), ready.is_true()) {
        (false, true) => {
            tell(Severity::Normal, "InferenceGraphReady", format!("InferenceGraph [{name}] is Ready"));
        }
        (true, false) => tell(
            Severity::Warning,
            "InferenceGraphNotReady",
            format!("InferenceGraph [{name}] is no longer Ready"),
        ),
        _ => {}
    }
    events
}
