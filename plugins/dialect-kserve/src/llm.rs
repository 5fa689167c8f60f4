//! An LLMInferenceService: one Model, and a Route to it.
//!
//! Where its Pod's description has an image, containers serve; otherwise the format `huggingface` does, by a plugin. A
//! service with a part of its own for reading prompts (`prefill`) has one Model that does both: handing a cache from one
//! process to another is the business of a serving engine and not of a Route.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Fault, FieldError, Object as _, Selector, SyncRequest, SyncResponse, fault};
use purlin_serving::container::{self, Arguments};
use purlin_serving::runtime;

use crate::llm_config::{self, Combined};
use crate::names::{self, GENERIC, MODEL_DIR, STOP, V1ALPHA1, V1ALPHA2};
use crate::predictor::asks_for_gpu;
use crate::settings::{flag, settings};
use crate::storage::Place;
use crate::{llm_status, routes, validate};

/// Where the server of a language model listens, as KServe's own description has it.
const PORT: i64 = 8000;

/// The service that a child belongs to, as KServe labels what it makes.
const LABEL: &str = "app.kubernetes.io/name";

/// Whether this dialect's kind is in one of its versions.
pub(crate) fn is(object: &Value) -> bool {
    object.is(V1ALPHA1, "LLMInferenceService") || object.is(V1ALPHA2, "LLMInferenceService")
}

/// The name of a service's Model, as of the Deployment that KServe makes.
pub(crate) fn model_of(service: &Value) -> String {
    names::component(service.name(), "kserve")
}

/// What the spec builds on, and the accounts among which the Pod's is.
pub(crate) fn related(service: &Value) -> Vec<Selector> {
    let mut selectors = vec![Selector {
        api_version: "v1".to_owned(),
        kind: "ServiceAccount".to_owned(),
        namespace: None,
        names: Vec::new(),
        labels: String::new(),
    }];
    selectors.extend(llm_config::selector(service));
    if !service.text(&["spec", "runtime"]).is_empty() {
        selectors.extend(runtime::selectors());
    }
    selectors
}

/// Translates.
///
/// # Errors
/// Fields that the user must correct.
pub(crate) fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
    let service = &request.parent;
    let now = request.context.now_ms;
    fault::check(validated(service))?;
    if service.annotation(STOP).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(SyncResponse {
            status: Some(llm_status::stopped(service, now)),
            ..SyncResponse::default()
        });
    }
    let combined = match llm_config::combine(service, &request.related) {
        Ok(combined) => combined,
        Err(refusal) => {
            let children = request.children.iter().map(names::as_observed).collect();
            let (status, events) = llm_status::not_combined(service, &refusal, now);
            return Ok(SyncResponse { children, status: Some(status), events, ..SyncResponse::default() });
        }
    };
    let mut notes = Vec::new();
    let model = translate(service, &combined, &request.related, &mut notes)?;
    let name = model_of(service);
    let labels = json!({LABEL: service.name(), "app.kubernetes.io/part-of": "llminferenceservice"});
    let route = json!({
        "hosts": names::hosts(service.name(), service.namespace()),
        "backends": [{"model": name, "weight": 100}],
    });
    let children = vec![
        names::generic("Model", &name, labels.clone(), json!({}), model),
        names::generic("Route", service.name(), labels, json!({}), route),
    ];
    let observed = llm_status::Observed {
        service,
        combined: &combined,
        model: request.child(GENERIC, "Model", &name),
        route: routes::observed(request, service.name()),
        now_ms: now,
    };
    let status = llm_status::of(&observed);
    let events = llm_status::events(service, &status, &notes);
    Ok(SyncResponse { children, status: Some(status), events, ..SyncResponse::default() })
}

fn validated(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate::name(service, &mut errors);
    let (replicas, scaling) = (service.at(&["spec", "replicas"]), service.at(&["spec", "scaling"]));
    if let (Some(replicas), Some(_)) = (replicas, scaling) {
        let reason = "replicas and scaling are mutually exclusive; leave one of them out";
        errors.push(fault::field("spec.replicas", replicas.to_string(), reason));
    }
    if let Some(scaling) = scaling {
        let number = |field: &str| scaling.int(&[field]);
        if let (Some(min), Some(max)) = (number("minReplicas"), number("maxReplicas"))
            && min > max
        {
            let reason = "minReplicas cannot exceed maxReplicas";
            errors.push(fault::field("spec.scaling.minReplicas", min.to_string(), reason));
        }
    }
    errors
}

/// The spec of the Model.
fn translate(
    service: &Value,
    combined: &Combined,
    related: &[Value],
    notes: &mut Vec<String>,
) -> Result<Value, Fault> {
    let spec = &combined.spec;
    let uri = spec.text(&["model", "uri"]);
    if uri.is_empty() {
        let reason = "say where the model is, such as hf://organisation/model";
        return Err(Fault::Invalid(vec![fault::field("spec.model.uri", "", reason)]));
    }
    let empty = json!({});
    let template = spec.at(&["template"]).unwrap_or(&empty);
    let containers = template.items(&["containers"]);
    let index = main(containers);
    let serving = index.and_then(|index| containers.get(index)).unwrap_or(&empty);
    let fetched = spec.at(&["storageInitializer", "enabled"]).and_then(Value::as_bool) != Some(false);

    let mut model = Map::new();
    model.insert("modelName".to_owned(), combined.model_name.as_str().into());
    model.insert("scaling".to_owned(), scaling(spec));
    let placed = json!({"storageUri": uri, "env": serving.at(&["env"]).cloned().unwrap_or_default()});
    let place = Place { service, component: template, model: &placed, path: "spec.model", hub: false };
    let source = place.source(related).map_err(|error| Fault::Invalid(vec![error]))?;
    let contained = !serving.text(&["image"]).is_empty();
    if let Some(source) = source.filter(|_| fetched || !contained) {
        model.insert("source".to_owned(), source);
    }
    if contained {
        model.insert(
            "container".to_owned(),
            by_container(spec, combined, uri, fetched, index.unwrap_or_default(), notes),
        );
    } else {
        model.insert("format".to_owned(), json!({"name": "huggingface"}));
        let (settings, _) = settings(serving, &["--model", "--served-model-name", "--port"]);
        if !settings.is_empty() {
            model.insert("settings".to_owned(), settings.into());
        }
        if asks_for_gpu(serving) {
            model.insert("device".to_owned(), "gpu".into());
        }
        if !spec.items(&["model", "lora", "adapters"]).is_empty() {
            notes
                .push("spec.model.lora has no effect: a plugin serves the model without adapters".to_owned());
        }
    }
    for (field, note) in [
        ("prefill", "spec.prefill has no effect: one Model reads prompts and writes answers"),
        ("worker", "spec.worker has no effect: a replica is on one node"),
    ] {
        if spec.at(&[field]).is_some() {
            notes.push(note.to_owned());
        }
    }
    for path in [["router", "scheduler"], ["router", "ingress"]] {
        if spec.at(&path).and_then(Value::as_object).is_some_and(|fields| !fields.is_empty()) {
            notes.push(format!("spec.{} has no effect: the gateway chooses among replicas", path.join(".")));
        }
    }
    if spec.at(&["router", "route", "group"]).is_some() {
        notes.push("spec.router.route.group has no effect: each service has a route of its own".to_owned());
    }
    Ok(model.into())
}

/// The container that serves: `main`, else the first.
fn main(containers: &[Value]) -> Option<usize> {
    let named = containers.iter().position(|container| container.text(&["name"]) == "main");
    named.or((!containers.is_empty()).then_some(0))
}

fn scaling(spec: &Value) -> Value {
    if let Some(scaling) = spec.at(&["scaling"]) {
        let min = scaling.int(&["minReplicas"]).unwrap_or(1).max(0);
        let max = scaling.int(&["maxReplicas"]).unwrap_or_default().max(0);
        let idle = scaling.int(&["keda", "idleReplicaCount"]);
        return json!({"minReplicas": if idle == Some(0) { 0 } else { min }, "maxReplicas": max});
    }
    match spec.int(&["replicas"]).unwrap_or(1).max(0) {
        // No limit is written as 0 too, so none is given: a request would wake one.
        0 => json!({"minReplicas": 0, "maxReplicas": 1}),
        replicas => json!({"minReplicas": replicas, "maxReplicas": replicas}),
    }
}

/// The Pod, with the command that KServe's own description has where the user gives none.
fn by_container(
    spec: &Value,
    combined: &Combined,
    uri: &str,
    fetched: bool,
    index: usize,
    notes: &mut Vec<String>,
) -> Value {
    let mut pod = spec.at(&["template"]).cloned().unwrap_or_default();
    let containers = pod.items(&["containers"]);
    let serving = containers.get(index).cloned().unwrap_or_default();
    let mut changes = Map::new();
    if serving.items(&["command"]).is_empty() {
        let given = serving.items(&["args"]);
        let from = match uri.strip_prefix("hf://") {
            Some(repository) if !fetched => repository,
            _ => MODEL_DIR,
        };
        changes.insert("command".to_owned(), json!(["vllm", "serve", from]));
        let mut args = Vec::new();
        let tensor = spec.int(&["parallelism", "tensor"]).map(|size| size.to_string());
        for (name, value) in [
            ("--served-model-name", Some(combined.model_name.clone())),
            ("--port", Some(PORT.to_string())),
            ("--tensor-parallel-size", tensor),
        ] {
            if let Some(value) = value.filter(|_| flag(given, name).is_none()) {
                args.extend([json!(name), json!(value)]);
            }
        }
        args.extend(adapters(spec, notes));
        if spec.at(&["trustRemoteCode"]).and_then(Value::as_bool) == Some(true) {
            args.push("--trust-remote-code".into());
        }
        args.extend(given.iter().cloned());
        changes.insert("args".to_owned(), args.into());
    }
    if serving.items(&["ports"]).is_empty() {
        changes.insert("ports".to_owned(), json!([{"containerPort": PORT, "protocol": "TCP"}]));
    }
    if let Some(container) = pod.pointer_mut(&format!("/containers/{index}")) {
        container::merge(container, &changes.into(), Arguments::Replace);
    }
    let mut container = container::model(spec, &Value::Null, pod);
    // `container::model` takes the port of kserve-container or the first; here the server is called main.
    if let Some(port) =
        serving.items(&["ports"]).first().map_or(Some(PORT), |port| port.int(&["containerPort"]))
    {
        container["port"] = port.into();
    }
    container
}

/// Adapters that the server fetches from the hub by itself.
fn adapters(spec: &Value, notes: &mut Vec<String>) -> Vec<Value> {
    let lora = spec.at(&["model", "lora"]).unwrap_or(&Value::Null);
    let mut modules = Vec::new();
    for adapter in lora.items(&["adapters"]) {
        let (name, uri) = (adapter.text(&["name"]), adapter.text(&["uri"]));
        match uri.strip_prefix("hf://") {
            Some(repository) => modules.push(json!(format!("{name}={repository}"))),
            None => notes.push(format!(
                "spec.model.lora.adapters: {name} has no effect: a model has one source, and {uri} is not on the hub"
            )),
        }
    }
    if modules.is_empty() {
        return modules;
    }
    let mut args = vec![json!("--enable-lora"), json!("--lora-modules")];
    args.extend(modules);
    for (field, name) in [
        ("maxRank", "--max-lora-rank"),
        ("maxAdapters", "--max-loras"),
        ("maxCpuAdapters", "--max-cpu-loras"),
    ] {
        if let Some(value) = lora.int(&[field]) {
            args.extend([json!(name), json!(value.to_string())]);
        }
    }
    args
}
