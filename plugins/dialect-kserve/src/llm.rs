//! An LLMInferenceService: a Model, or two, and a Route.
//!
//! Where its Pod's description has an image, containers serve; otherwise the format `huggingface` does, by a plugin. A
//! service with a part of its own for reading prompts (`prefill`) has a second Model for that part, whose replicas the gateway
//! names to those of the first: handing the cache from one to the other is the business of the serving engine.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Fault, FieldError, Object as _, Selector, SyncRequest, SyncResponse, fault};
use purlin_serving::runtime;

use crate::llm_config::{self, Combined};
use crate::llm_pod::{self, Part};
use crate::names::{self, GENERIC, STOP, V1ALPHA1, V1ALPHA2};
use crate::predictor::asks_for_gpu;
use crate::settings::settings;
use crate::storage::Place;
use crate::{llm_status, routes, validate};

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

/// The name of the Model that reads prompts.
pub(crate) fn prefill_of(service: &Value) -> String {
    names::component(service.name(), "kserve-prefill")
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
    let models = translate(service, &combined, &request.related, &mut notes)?;
    let (name, prefill) = (model_of(service), prefill_of(service));
    let labels = json!({LABEL: service.name(), "app.kubernetes.io/part-of": "llminferenceservice"});
    let route = json!({
        "hosts": names::hosts(service.name(), service.namespace()),
        "backends": [{"model": name, "weight": 100}],
    });
    let mut children = vec![
        names::generic("Model", &name, labels.clone(), json!({}), models.main),
        names::generic("Route", service.name(), labels.clone(), json!({}), route),
    ];
    let reads = models.prefill.is_some();
    children.extend(models.prefill.map(|model| names::generic("Model", &prefill, labels, json!({}), model)));
    let observed = llm_status::Observed {
        service,
        combined: &combined,
        model: request.child(GENERIC, "Model", &name),
        prefill: reads.then(|| request.child(GENERIC, "Model", &prefill)),
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
    for path in ["spec", "spec.prefill"] {
        if let Some(part) = service.at(&path.split('.').collect::<Vec<_>>()) {
            check_scaling(part, path, &mut errors);
        }
    }
    errors
}

fn check_scaling(part: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (replicas, scaling) = (part.at(&["replicas"]), part.at(&["scaling"]));
    if let (Some(replicas), Some(_)) = (replicas, scaling) {
        let reason = "replicas and scaling are mutually exclusive; leave one of them out";
        errors.push(fault::field(format!("{path}.replicas"), replicas.to_string(), reason));
    }
    let number = |field: &str| scaling.and_then(|scaling| scaling.int(&[field]));
    if let (Some(min), Some(max)) = (number("minReplicas"), number("maxReplicas"))
        && min > max
    {
        let reason = "minReplicas cannot exceed maxReplicas";
        errors.push(fault::field(format!("{path}.scaling.minReplicas"), min.to_string(), reason));
    }
}

/// The specs of a service's Models.
struct Models {
    main: Value,
    /// Of the one that reads prompts, where there is one.
    prefill: Option<Value>,
}

/// The specs of the Models.
fn translate(
    service: &Value,
    combined: &Combined,
    related: &[Value],
    notes: &mut Vec<String>,
) -> Result<Models, Fault> {
    let spec = &combined.spec;
    let uri = spec.text(&["model", "uri"]);
    if uri.is_empty() {
        let reason = "say where the model is, such as hf://organisation/model";
        return Err(Fault::Invalid(vec![fault::field("spec.model.uri", "", reason)]));
    }
    let empty = json!({});
    let template = spec.at(&["template"]).unwrap_or(&empty);
    let containers = template.items(&["containers"]);
    let serving = llm_pod::main(containers).and_then(|index| containers.get(index)).unwrap_or(&empty);
    let fetched = spec.at(&["storageInitializer", "enabled"]).and_then(Value::as_bool) != Some(false);
    let contained = !serving.text(&["image"]).is_empty();

    let mut model = Map::new();
    model.insert("modelName".to_owned(), combined.model_name.as_str().into());
    let placed = json!({"storageUri": uri, "env": serving.at(&["env"]).cloned().unwrap_or_default()});
    let place = Place { service, component: template, model: &placed, path: "spec.model", hub: false };
    let source = place.source(related).map_err(|error| Fault::Invalid(vec![error]))?;
    if let Some(source) = source.filter(|_| fetched || !contained) {
        model.insert("source".to_owned(), source);
    }
    let mut prefill = None;
    if contained {
        let by_prefix = looks_at_prefixes(spec, notes);
        let main = Part::main(combined, uri, fetched);
        if let Some(part) = Part::prefill(combined, uri, fetched, serving) {
            let mut reading = model.clone();
            reading.insert("scaling".to_owned(), scaling(part.workload));
            reading.insert("container".to_owned(), part.container(notes));
            balance(&mut reading, by_prefix);
            prefill = Some(reading.into());
            // Who reads prompts has their beginnings in its cache; who writes answers is chosen by its load.
            model.insert(
                "prefill".to_owned(),
                json!({"model": prefill_of(service), "header": llm_pod::READER}),
            );
        } else {
            balance(&mut model, by_prefix);
        }
        model.insert("container".to_owned(), main.container(notes));
        note_worker(spec, "spec", notes);
        note_worker(spec.at(&["prefill"]).unwrap_or(&empty), "spec.prefill", notes);
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
        if spec.at(&["prefill"]).is_some() {
            notes.push("spec.prefill has no effect: a plugin reads prompts and writes answers".to_owned());
        }
        if settled(spec, "scheduler") {
            let note = "spec.router.scheduler has no effect: a plugin serves the model where requests arrive";
            notes.push(note.to_owned());
        }
        note_worker(spec, "spec", notes);
    }
    model.insert("scaling".to_owned(), scaling(spec));
    if settled(spec, "ingress") {
        notes.push("spec.router.ingress has no effect: requests come in by the gateway".to_owned());
    }
    if spec.at(&["router", "route", "group"]).is_some() {
        notes.push("spec.router.route.group has no effect: each service has a route of its own".to_owned());
    }
    Ok(Models { main: model.into(), prefill })
}

/// Whether something is set below a field of the router.
fn settled(spec: &Value, field: &str) -> bool {
    spec.at(&["router", field]).and_then(Value::as_object).is_some_and(|fields| !fields.is_empty())
}

fn note_worker(part: &Value, path: &str, notes: &mut Vec<String>) {
    if part.at(&["worker"]).is_some() {
        notes.push(format!("{path}.worker has no effect: a replica is on one node"));
    }
}

fn balance(model: &mut Map<String, Value>, by_prefix: bool) {
    if by_prefix {
        model.insert("balancing".to_owned(), "PrefixCache".into());
    }
}

/// Whether prompts go where their beginning is in a cache: where there is a scheduler, unless it is given plugins of which
/// none looks at that.
fn looks_at_prefixes(spec: &Value, notes: &mut Vec<String>) -> bool {
    let Some(scheduler) = spec.at(&["router", "scheduler"]) else { return false };
    let mut unused = |field: &str, why: &str| {
        notes.push(format!("spec.router.scheduler.{field} has no effect: {why}"));
    };
    for field in ["pool", "template", "replicas"] {
        if scheduler.at(&[field]).is_some() {
            unused(field, "the gateway chooses among replicas itself");
        }
    }
    if scheduler.at(&["config", "ref"]).is_some() {
        unused("config.ref", "write the configuration under spec.router.scheduler.config.inline");
    }
    let Some(config) = scheduler.at(&["config", "inline"]) else { return true };
    if config
        .items(&["plugins"])
        .iter()
        .any(|plugin| plugin.text(&["type"]).starts_with("precise-prefix-cache"))
    {
        let why = "what is in a cache is taken from what was sent, and not asked of the servers";
        unused("config.inline.plugins", &format!("precise-prefix-cache: {why}"));
    }
    let of_prefixes = |plugin: &&Value| plugin.text(&["type"]).contains("prefix-cache");
    let (known, others): (Vec<&Value>, Vec<&Value>) =
        config.items(&["plugins"]).iter().partition(of_prefixes);
    let others = others.iter().map(|plugin| plugin.text(&["type"]).to_owned());
    let others: Vec<String> =
        others.filter(|kind| !kind.is_empty() && !BUILT_IN.contains(&kind.as_str())).collect();
    if !others.is_empty() {
        let why = "the gateway looks at prefixes in caches and at requests under way";
        unused("config.inline.plugins", &format!("{}: {why}", others.join(", ")));
    }
    !known.is_empty()
}

/// Plugins of a scheduler that do what the gateway does anyway.
const BUILT_IN: &[&str] = &[
    "active-request-scorer",
    "always-disagg-pd-decider",
    "decode-filter",
    "disagg-profile-handler",
    "inflight-load-producer",
    "load-aware-scorer",
    "max-score-picker",
    "pd-profile-handler",
    "prefill-filter",
    "prefill-header-handler",
    "queue-scorer",
    "single-profile-handler",
    "token-load-scorer",
];

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
