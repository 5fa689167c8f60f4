//! An InferenceGraph: one Route whose nodes ask the Routes of InferenceServices.

use std::collections::BTreeSet;

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Event, Fault, FieldError, Object as _, Severity, SyncRequest, SyncResponse, fault};

use crate::knative::{Living, State};
use crate::names::{self, STOP};
use crate::{routes, validate};

/// Where a request enters.
const ROOT: &str = "root";

/// What `Ready` sums up.
const DEPENDENTS: &[&str] = &["ConfigurationsReady", "RoutesReady"];
/// Where the graph was stopped.
const NONE: &[&str] = &["RoutesReady"];

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
    let reached = State::observed(observed, "Ready");
    conditions
        .set("ConfigurationsReady", if observed.is_some() { State::holds() } else { State::pending("", "") });
    conditions.set("RoutesReady", reached.clone());
    conditions.set("Stopped", State::fails("", ""));
    let url = observed
        .map(|route| route.text(&["status", "url"]))
        .filter(|url| reached.is_true() && !url.is_empty());
    let events = events(graph, reached.is_true());
    let status = status(graph, conditions, url);
    Ok(SyncResponse { children: vec![route], status: Some(status), events, ..SyncResponse::default() })
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
        if splitter && sum != 100 {
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

fn events(graph: &Value, is: bool) -> Vec<Event> {
    let name = graph.name();
    let tell = |severity, reason: &str, message: String| {
        vec![Event { severity, reason: reason.to_owned(), message }]
    };
    match (graph.is_true("Ready"), is) {
        (false, true) => {
            tell(Severity::Normal, "InferenceGraphReady", format!("InferenceGraph [{name}] is Ready"))
        }
        (true, false) => tell(
            Severity::Warning,
            "InferenceGraphNotReady",
            format!("InferenceGraph [{name}] is no longer Ready"),
        ),
        _ => Vec::new(),
    }
}
