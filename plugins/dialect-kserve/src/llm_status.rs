//! The status of an LLMInferenceService, in KServe's words.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Event, Object as _, Severity};
use purlin_serving::progress::{self, Progress};

use crate::knative::{Living, State, worst};
use crate::llm_config::{Combined, Refusal};
use crate::words::Written;
use crate::{llm, names};

/// What `Ready` sums up.
const DEPENDENTS: &[&str] = &["PresetsCombined", "WorkloadsReady", "RouterReady"];

/// What the status is about.
pub(crate) struct Observed<'a> {
    pub(crate) service: &'a Value,
    pub(crate) combined: &'a Combined,
    pub(crate) model: Option<&'a Value>,
    /// The Model that reads prompts, if there should be one.
    pub(crate) prefill: Option<Option<&'a Value>>,
    pub(crate) route: Option<&'a Value>,
    pub(crate) now_ms: u64,
}

/// The whole status.
pub(crate) fn of(observed: &Observed<'_>) -> Value {
    let service = observed.service;
    let uri = observed.combined.spec.text(&["model", "uri"]);
    let written = Written { source: "spec.model.uri", uri, format: None };
    let state = |model| match progress::of(model) {
        Progress::Ready => State::holds(),
        Progress::Failed { reason, message, .. } => State::fails(reason, written.told(&message)),
        Progress::Pending { reason, message } => State::pending(reason, message),
    };
    let workload = state(observed.model);
    let route = State::observed(observed.route, "Ready");
    let mut conditions = Living::of(service, DEPENDENTS, observed.now_ms);
    conditions.set("PresetsCombined", State::holds());
    let prefill = observed.prefill.map(state);
    conditions.set("WorkloadsReady", worst(std::iter::once(&workload).chain(&prefill)));
    conditions.set("RouterReady", route.clone());
    conditions.set("HTTPRoutesReady", route);
    if let Some(prefill) = prefill {
        conditions.set("PrefillWorkloadReady", prefill);
    }
    conditions.set("MainWorkloadReady", workload);
    let ready = conditions.ready();

    let mut status = Map::new();
    status.insert(
        "observedGeneration".to_owned(),
        service.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    let url = observed
        .route
        .map(|route| route.text(&["status", "url"]))
        .filter(|url| ready.is_true() && !url.is_empty());
    let told = service.text(&["status", "url"]);
    let url = url.unwrap_or(told);
    if !url.is_empty() {
        let local = names::address(service.name(), service.namespace());
        status.insert("url".to_owned(), url.into());
        status.insert(
            "addresses".to_owned(),
            json!([
                {"name": "gateway-external", "url": url, "models": [{"name": observed.combined.model_name}]},
                {"name": "gateway-internal", "url": local["url"], "models": [{"name": observed.combined.model_name}]},
            ]),
        );
    }
    let model = |name: String| json!({"apiGroup": "purlin.dev", "kind": "Model", "name": name});
    let mut workloads = json!({"primary": model(llm::model_of(service))});
    if observed.prefill.is_some() {
        workloads["prefill"] = model(llm::prefill_of(service));
    }
    status.insert("workloads".to_owned(), workloads);
    let configs = observed.combined.configs.iter();
    let configs: Vec<Value> = configs
        .map(|name| json!({"name": name, "namespace": service.namespace(), "source": "UserRef"}))
        .collect();
    if !configs.is_empty() {
        status.insert("appliedConfigs".to_owned(), configs.into());
    }
    status.into()
}

/// The status of a service whose spec cannot be put together: what it had stays.
pub(crate) fn not_combined(service: &Value, refusal: &Refusal, now_ms: u64) -> (Value, Vec<Event>) {
    let mut conditions = Living::of(service, DEPENDENTS, now_ms);
    conditions.set("PresetsCombined", State::fails(refusal.reason, &refusal.message));
    for kind in ["WorkloadsReady", "RouterReady"] {
        conditions.set(kind, State::observed(Some(service), kind));
    }
    let known = service.condition("PresetsCombined").map(|condition| condition.text(&["message"]));
    let mut events = Vec::new();
    if known != Some(refusal.message.as_str()) {
        let (reason, message) = (refusal.reason.to_owned(), refusal.message.clone());
        events.push(Event { severity: Severity::Warning, reason, message });
    }
    let mut status = service.at(&["status"]).and_then(Value::as_object).cloned().unwrap_or_default();
    status.insert(
        "observedGeneration".to_owned(),
        service.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    (status.into(), events)
}

/// The status of a service that was stopped.
pub(crate) fn stopped(service: &Value, now_ms: u64) -> Value {
    let mut conditions = Living::of(service, DEPENDENTS, now_ms);
    conditions.set("PresetsCombined", State::holds());
    for kind in ["WorkloadsReady", "RouterReady", "MainWorkloadReady"] {
        conditions.set(kind, State::fails("Stopped", "Service is stopped"));
    }
    json!({
        "observedGeneration": service.int(&["metadata", "generation"]).unwrap_or_default(),
        "conditions": conditions.into_value(),
    })
}

/// What has no effect, once for each spec, what keeps the model from being served, and each turn of the readiness.
pub(crate) fn events(service: &Value, status: &Value, notes: &[String]) -> Vec<Event> {
    let mut events = Vec::new();
    let seen = service.int(&["status", "observedGeneration"]);
    if seen.is_none() || seen != service.int(&["metadata", "generation"]) {
        let ignored = |note: &String| Event {
            severity: Severity::Warning,
            reason: "NoEffect".to_owned(),
            message: note.clone(),
        };
        events.extend(notes.iter().map(ignored));
    }
    let name = service.name();
    let mut tell = |severity, reason: &str, message: String| {
        events.push(Event { severity, reason: reason.to_owned(), message });
    };
    for kind in ["MainWorkloadReady", "PrefillWorkloadReady"] {
        let workload = State::observed(Some(&json!({"status": status})), kind);
        if workload.is_new_failure(service, kind) {
            tell(Severity::Warning, &workload.reason, workload.message);
        }
    }
    match (service.is_true("Ready"), json!({"status": status}).is_true("Ready")) {
        (false, true) => {
            tell(
                Severity::Normal,
                "LLMInferenceServiceReady",
                format!("LLMInferenceService [{name}] is Ready"),
            );
        }
        (true, false) => tell(
            Severity::Warning,
            "LLMInferenceServiceNotReady",
            format!("LLMInferenceService [{name}] is no longer Ready"),
        ),
        _ => {}
    }
    events
}
