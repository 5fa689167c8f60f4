//! A TrainedModel: a Model that answers by its own name on the Route of an InferenceService.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Event, Fault, Object as _, Selector, Severity, SyncRequest, SyncResponse, fault};
use purlin_serving::progress::{self, Progress};

use crate::knative::{Living, State};
use crate::names::{self, COMPONENT_LABEL, GENERIC, SERVICE_LABEL, V1ALPHA1, V1BETA1};
use crate::predictor::{described, is_multi_model, protocol};
use crate::quantity::thousandths;
use crate::storage::Place;
use crate::validate;
use crate::words::Written;

/// What `Ready` sums up.
const DEPENDENTS: &[&str] =
    &["InferenceServiceReady", "FrameworkSupported", "MemoryResourceAvailable", "IsMMSPredictor"];

/// Its InferenceService, the models beside it, and the accounts among which that service's is.
pub(crate) fn related(model: &Value) -> Vec<Selector> {
    let select = |api_version: &str, kind: &str, names: Vec<String>| Selector {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        names,
        labels: String::new(),
    };
    vec![
        select(V1BETA1, "InferenceService", vec![model.text(&["spec", "inferenceService"]).to_owned()]),
        select(V1ALPHA1, "TrainedModel", Vec::new()),
        select("v1", "ServiceAccount", Vec::new()),
    ]
}

/// Translates.
///
/// # Errors
/// Fields that the user must correct.
pub(crate) fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
    let model = &request.parent;
    let mut errors = Vec::new();
    validate::name(model, &mut errors);
    for field in ["inferenceService", "model.framework", "model.storageUri"] {
        let path: Vec<&str> = std::iter::once("spec").chain(field.split('.')).collect();
        if model.text(&path).is_empty() {
            errors.push(fault::field(format!("spec.{field}"), "", "it is required"));
        }
    }
    let memory = model.at(&["spec", "model", "memory"]).unwrap_or(&Value::Null);
    if thousandths(memory).is_none() {
        let value = memory.as_str().unwrap_or_default();
        errors.push(fault::field(
            "spec.model.memory",
            value,
            "it must be an amount of memory, such as 256Mi",
        ));
    }
    fault::check(errors)?;

    let name = model.text(&["spec", "inferenceService"]);
    let service =
        request.related.iter().find(|object| object.is(V1BETA1, "InferenceService") && object.name() == name);
    let observed = request.child(GENERIC, "Model", model.name());
    let room = service.map(|service| room(service, model, &request.related));
    let shared = service.is_some_and(is_multi_model);
    let mut children = Vec::new();
    if let Some(service) = service.filter(|_| shared && matches!(room, Some(Ok(())))) {
        children.push(translate(service, model, &request.related)?);
    }
    let mut conditions = Living::of(model, DEPENDENTS, request.context.now_ms);
    let states = [
        ("InferenceServiceReady", service_state(service, model)),
        ("FrameworkSupported", framework_state(observed, model)),
        // Without a service nothing is known about it.
        (
            "MemoryResourceAvailable",
            match room {
                None => State::pending("", ""),
                Some(Ok(())) => State::holds(),
                Some(Err(message)) => State::fails("MemoryResourceNotAvailable", message),
            },
        ),
        (
            "IsMMSPredictor",
            match (service, shared) {
                (None, _) => State::pending("", ""),
                (Some(_), true) => State::holds(),
                (Some(_), false) => State::fails("IsNotMMSPredictor", alone(name)),
            },
        ),
    ];
    for (kind, state) in &states {
        conditions.set(kind, state.clone());
    }
    let events = events(model, &states, &conditions.ready());
    let mut status = Map::new();
    status.insert(
        "observedGeneration".to_owned(),
        model.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    if let Some(service) = service {
        let path = predict_path(model.name(), protocol(&service["spec"]["predictor"]));
        let url = service.text(&["status", "url"]);
        if !url.is_empty() {
            status.insert("url".to_owned(), format!("{}{path}", url.trim_end_matches('/')).into());
        }
        let address = service.text(&["status", "address", "url"]);
        if !address.is_empty() {
            status.insert("address".to_owned(), json!({"url": format!("{address}{path}")}));
        }
    }
    Ok(SyncResponse { children, status: Some(status.into()), events, ..SyncResponse::default() })
}

fn predict_path(name: &str, protocol: &str) -> String {
    match protocol {
        "v2" | "grpc-v2" => format!("/v2/models/{name}/infer"),
        _ => format!("/v1/models/{name}:predict"),
    }
}

fn service_state(service: Option<&Value>, model: &Value) -> State {
    match service {
        Some(service) if service.is_true("Ready") => State::holds(),
        Some(_) => State::fails(
            "InferenceServiceNotReady",
            "Inference Service needs to be ready before Trained Model can be ready",
        ),
        None => State::fails(
            "InferenceServiceNotFound",
            format!(
                "spec.inferenceService: \"{}\": there is no InferenceService of this name in namespace {}: create it \
                 there, or name another",
                model.text(&["spec", "inferenceService"]),
                model.namespace()
            ),
        ),
    }
}

/// Why a service with a model of its own takes no others.
fn alone(service: &str) -> String {
    format!(
        "Inference Service predictor is not configured for multi-model serving: spec.inferenceService: \"{service}\": leave \
         storageUri out of its spec.predictor, or name another"
    )
}

fn framework_state(observed: Option<&Value>, model: &Value) -> State {
    let written = Written {
        source: "spec.model.storageUri",
        uri: model.text(&["spec", "model", "storageUri"]),
        format: Some("spec.model.framework"),
    };
    match progress::of(observed) {
        Progress::Ready => State::holds(),
        Progress::Failed { kind: "NoSupportingRuntime", message, .. } => {
            State::fails("FrameworkNotSupported", written.told(&message))
        }
        Progress::Failed { kind, message, .. } => State::fails(kind, written.told(&message)),
        Progress::Pending { reason, message } => State::pending(reason, message),
    }
}

/// Whether the service's memory is enough for its models up to this one: those that came before, then this one. Without
/// a limit it is. Says, if it is not, what to do.
fn room(service: &Value, model: &Value, related: &[Value]) -> Result<(), String> {
    let predictor = &service["spec"]["predictor"];
    let serving = described(predictor)
        .map(|described| described.model)
        .or_else(|| predictor.items(&["containers"]).first());
    let written = serving.and_then(|serving| serving.at(&["resources", "limits", "memory"]));
    let Some((written, limit)) = written.and_then(|written| Some((written, thousandths(written)?))) else {
        return Ok(());
    };
    // A time of creation has seconds only: who has its room already keeps it.
    let order = |model: &Value| {
        let came = model.text(&["metadata", "creationTimestamp"]).to_owned();
        (!model.is_true("MemoryResourceAvailable"), came, model.name().to_owned())
    };
    let memory =
        |model: &Value| model.at(&["spec", "model", "memory"]).and_then(thousandths).unwrap_or_default();
    let before = related.iter().filter(|other| {
        other.is(V1ALPHA1, "TrainedModel")
            && other.text(&["spec", "inferenceService"]) == service.name()
            && order(other) < order(model)
    });
    let taken = before.map(memory).fold(0_u128, u128::saturating_add);
    if taken.saturating_add(memory(model)) <= limit {
        return Ok(());
    }
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Err(format!(
        "Inference Service does not have enough memory resources for Trained Model: spec.model.memory: \"{}\": the models \
         of \"{}\" may have {} together: ask for less, or raise the limit of its predictor",
        plain(model.at(&["spec", "model", "memory"]).unwrap_or(&Value::Null)),
        service.name(),
        plain(written)
    ))
}

fn translate(service: &Value, model: &Value, related: &[Value]) -> Result<Value, Fault> {
    let component = &service["spec"]["predictor"];
    let spec = &model["spec"]["model"];
    let place = Place { service: model, component, model: spec, path: "spec.model", hub: true };
    let source = place.source(related).map_err(|error| Fault::Invalid(vec![error]))?;
    let labels = json!({SERVICE_LABEL: service.name(), COMPONENT_LABEL: "predictor"});
    let spec = json!({
        "modelName": model.name(),
        "format": {"name": spec.text(&["framework"])},
        "source": source,
        "scaling": {"minReplicas": 1},
    });
    Ok(names::generic("Model", model.name(), labels, json!({}), spec))
}

/// What somebody has to act on, once, and each turn of the readiness. That the service is on its way is no trouble.
fn events(model: &Value, states: &[(&'static str, State)], ready: &State) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |severity, reason: &str, message: String| {
        events.push(Event { severity, reason: reason.to_owned(), message });
    };
    for (kind, state) in states {
        if state.reason != "InferenceServiceNotReady" && state.is_new_failure(model, kind) {
            tell(Severity::Warning, &state.reason, state.message.clone());
        }
    }
    let name = model.name();
    match (model.is_true("Ready"), ready.is_true()) {
        (false, true) => {
            tell(Severity::Normal, "TrainedModelReady", format!("TrainedModel [{name}] is Ready"));
        }
        (true, false) => tell(
            Severity::Warning,
            "TrainedModelNotReady",
            format!("TrainedModel [{name}] is no longer Ready"),
        ),
        _ => {}
    }
    events
}
