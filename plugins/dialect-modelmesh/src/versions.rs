//! Which Model has the requests, and which others there are.
//!
//! A Model is named by what its spec is, so that the same spec is the same Model. Which one has the requests is in the Route.
//! A new one gets them once it can answer, or at once where the one before never could.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Object as _, SyncRequest};
use purlin_serving::names::{self, GENERIC};
use purlin_serving::{mesh, progress};

/// The Predictor that a child belongs to.
const LABEL: &str = "serving.kserve.io/predictor";

/// Names of Models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versions {
    /// It has the requests.
    pub(crate) active: String,
    /// That of the current spec.
    pub(crate) target: String,
}

/// The Model of a spec, as ModelMesh names it: with where it came from, and ten digits of its hash. For how long it stays in
/// memory makes no other model of it.
fn name_of(predictor: &Value, spec: &Value) -> String {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("scaling");
    }
    let hash = format!("{:016x}", names::hash(&spec));
    format!("{}-ksp-{}", predictor.name(), hash.get(..10).unwrap_or_default())
}

/// Whether it could answer at some time.
fn was_ready(model: &Value) -> bool {
    progress::is_ready(model) || model.at(&["status", "readyTime"]).is_some()
}

/// The Model that has the requests, as far as anybody knows: what the Route says, or else one that could answer.
pub(crate) fn active(request: &SyncRequest) -> Option<&Value> {
    let route = request.child(GENERIC, "Route", request.parent.name());
    let routed = route
        .and_then(|route| route.items(&["spec", "backends"]).first())
        .and_then(|backend| request.child(GENERIC, "Model", backend.text(&["model"])));
    let models = || request.children.iter().filter(|child| child.is(GENERIC, "Model"));
    routed.or_else(|| models().find(|model| was_ready(model)))
}

/// Decides by what was observed.
pub(crate) fn plan(request: &SyncRequest, spec: &Value) -> Versions {
    let target = name_of(&request.parent, spec);
    let next = request.child(GENERIC, "Model", &target);
    let stays = active(request).filter(|active| {
        active.name() != target && was_ready(active) && !next.is_some_and(progress::is_ready)
    });
    let active = stays.map_or_else(|| target.clone(), |active| active.name().to_owned());
    Versions { active, target }
}

/// The Models and the Route that should exist.
pub(crate) fn children(request: &SyncRequest, versions: &Versions, spec: &Value) -> Vec<Value> {
    let predictor = &request.parent;
    let labels = json!({LABEL: predictor.name()});
    let mut children =
        vec![names::generic("Model", &versions.target, labels.clone(), json!({}), spec.clone())];
    if let Some(active) = request.child(GENERIC, "Model", &versions.active)
        && versions.active != versions.target
    {
        children.push(as_observed(active));
    }
    let mut route = purlin_sdk::serde_json::Map::new();
    route.insert("backends".to_owned(), json!([{"model": versions.active, "weight": 100}]));
    mesh::extend_route(predictor.namespace(), &mut route);
    children.push(names::generic("Route", predictor.name(), labels, json!({}), route.into()));
    children
}

/// A child as it was observed, in the fields that this dialect decides: given again, nothing changes.
pub(crate) fn as_observed(child: &Value) -> Value {
    let labels = match child.label(LABEL) {
        Some(predictor) => json!({LABEL: predictor}),
        None => json!({}),
    };
    let spec = child.at(&["spec"]).cloned().unwrap_or_else(|| json!({}));
    names::generic(child.text(&["kind"]), child.name(), labels, json!({}), spec)
}
