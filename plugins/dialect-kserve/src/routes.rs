//! Routes of a service: one for the service as a whole, and one for each of its components.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Object as _, SyncRequest};
use purlin_serving::mesh;

use crate::knative::State;
use crate::names::{self, COMPONENT_LABEL, GENERIC, SERVICE_LABEL, V1ALPHA1};

/// What a route is made of.
pub(crate) struct Parts {
    /// Who answers.
    pub(crate) backends: Value,
    /// A Model in front of them.
    pub(crate) transformer: Option<String>,
    /// A Model that explains.
    pub(crate) explainer: Option<String>,
    /// Models that answer by their own names.
    pub(crate) models: Vec<String>,
}

/// The route called `name`; `component` is empty for the service as a whole.
pub(crate) fn route(
    service: &Value,
    name: &str,
    component: &str,
    timeout: Option<i64>,
    parts: Parts,
) -> Value {
    let mut spec = Map::new();
    // The service as a whole answers under the address that it shares; its parts have their own.
    match names::is_mesh(service) && component.is_empty() {
        true => mesh::extend_route(service.namespace(), &mut spec),
        false => drop(spec.insert("hosts".to_owned(), names::hosts(name, service.namespace()))),
    }
    spec.insert("backends".to_owned(), parts.backends);
    for (field, model) in [("transformer", parts.transformer), ("explainer", parts.explainer)] {
        if let Some(model) = model {
            spec.insert(field.to_owned(), model.into());
        }
    }
    if !parts.models.is_empty() {
        spec.insert("models".to_owned(), parts.models.into());
    }
    if let Some(seconds) = timeout {
        spec.insert("timeoutSeconds".to_owned(), seconds.into());
    }
    let mut labels = json!({SERVICE_LABEL: service.name()});
    if !component.is_empty() {
        labels[COMPONENT_LABEL] = component.into();
    }
    names::generic("Route", name, labels, json!({}), spec.into())
}

/// A component's route to one Model.
pub(crate) fn to_one(service: &Value, name: &str, component: &str, model: &str) -> Value {
    let timeout = service.int(&["spec", component, "timeout"]);
    let parts = Parts {
        backends: json!([{"model": model, "weight": 100}]),
        transformer: None,
        explainer: None,
        models: Vec::new(),
    };
    route(service, name, component, timeout, parts)
}

/// The TrainedModels of a service, in the order of their names, without those that it has no room or no place for.
pub(crate) fn trained(service: &Value, related: &[Value]) -> Vec<String> {
    let refused = |object: &Value| {
        let mut kinds = ["MemoryResourceAvailable", "IsMMSPredictor"].iter();
        kinds.any(|kind| State::observed(Some(object), kind).is_false())
    };
    let of_service = |object: &&Value| {
        object.is(V1ALPHA1, "TrainedModel")
            && object.text(&["spec", "inferenceService"]) == service.name()
            && object.at(&["metadata", "deletionTimestamp"]).is_none()
            && !refused(object)
    };
    let mut models: Vec<String> =
        related.iter().filter(of_service).map(|object| object.name().to_owned()).collect();
    models.sort();
    models.dedup();
    models
}

/// The route as it was observed.
pub(crate) fn observed<'a>(request: &'a SyncRequest, name: &str) -> Option<&'a Value> {
    request.child(GENERIC, "Route", name)
}

/// Where a route answers on the gateway's own address, without the scheme: for a client that is given a host.
pub(crate) fn host_and_path(route: Option<&Value>) -> Option<String> {
    without_scheme(route?.text(&["status", "pathUrl"]))
}

/// Where a route answers over gRPC: calls have no path of their own, so that only the host tells routes apart.
pub(crate) fn host_of_calls(route: Option<&Value>) -> Option<String> {
    without_scheme(route?.text(&["status", "url"]))
}

fn without_scheme(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    (!rest.is_empty()).then(|| rest.to_owned())
}
