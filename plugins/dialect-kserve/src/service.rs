//! An InferenceService: a Model for each revision of its predictor, and Routes to them.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Event, Fault, Object as _, Selector, Severity, SyncRequest, SyncResponse, fault};
use purlin_serving::runtime;

use crate::knative::State;
use crate::names::{self, STOP, TAG_ROUTING, V1ALPHA1};
use crate::predictor::{self, Predictor, Refused};
use crate::revisions::{self, Rules};
use crate::routes::{self, Parts};
use crate::status::{self, Observed};
use crate::{companions, storage, validate};

/// How soon to look again for a runtime that is not there. Its arrival is seen at once; this is for the rest.
const RUNTIME_RETRY_MS: u64 = 60_000;

/// Runtimes, service accounts and TrainedModels.
pub(crate) fn related(service: &Value) -> Vec<Selector> {
    let mut selectors = runtime::selectors().to_vec();
    for component in ["predictor", "transformer", "explainer"] {
        if let Some(spec) = service.at(&["spec", component]) {
            selectors.push(storage::account(spec));
        }
    }
    selectors.push(Selector {
        api_version: V1ALPHA1.to_owned(),
        kind: "TrainedModel".to_owned(),
        namespace: None,
        names: Vec::new(),
        labels: String::new(),
    });
    selectors
}

/// Translates.
///
/// # Errors
/// Fields that the user must correct.
pub(crate) fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
    let service = &request.parent;
    fault::check(validate::service(service))?;
    if service.annotation(STOP).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let status = status::stopped(service, request.context.now_ms);
        let events = events(service, &status, &[]);
        return Ok(SyncResponse { status: Some(status), events, ..SyncResponse::default() });
    }
    match predictor::translate(service, &request.related)? {
        Ok(predictor) => rolled_out(request, &predictor),
        Err(refused) => Ok(as_before(request, &refused)),
    }
}

/// Nothing changes but the status.
fn as_before(request: &SyncRequest, refused: &Refused) -> SyncResponse {
    let service = &request.parent;
    let children = request.children.iter().map(names::as_observed).collect();
    let status = status::refused(service, refused.reason, &refused.message, request.context.now_ms);
    let runtime = predictor::described(&service["spec"]["predictor"])
        .map_or("", |described| described.model.text(&["runtime"]));
    let mut events = events(service, &status, &[]);
    if news(service) {
        let message = format!(
            "spec.predictor.model.runtime: {runtime:?}: {}. Name a ServingRuntime of this namespace or a \
             ClusterServingRuntime that fits, or leave it out.",
            refused.message
        );
        events.push(Event { severity: Severity::Warning, reason: refused.reason.to_owned(), message });
    }
    SyncResponse { children, status: Some(status), requeue_after_ms: Some(RUNTIME_RETRY_MS), events }
}

fn rolled_out(request: &SyncRequest, predictor: &Predictor) -> Result<SyncResponse, Fault> {
    let service = &request.parent;
    let name = service.name();
    let stem = names::component(name, "predictor");
    let rules = Rules {
        canary: service.int(&["spec", "predictor", "canaryTrafficPercent"]),
        tags: service.annotation(TAG_ROUTING) == Some("true"),
    };
    let mut children = Vec::new();
    let plan = predictor.spec.as_ref().map(|spec| {
        let plan = revisions::plan(service, &stem, spec, &request.children, rules);
        children.extend(revisions::models(&plan, service, &stem, spec, predictor.min, &request.children));
        plan
    });
    let explained = plan.as_ref().map(|plan| plan.ready.as_ref().unwrap_or(&plan.created).as_str());
    let companions = companions::translate(request, explained.unwrap_or_default())?;
    let in_front = companions::in_front(request, &companions);
    children.extend(companions.models.iter().cloned());

    let backends = plan.as_ref().map_or_else(|| json!([]), revisions::backends);
    let timeout = service.int(&["spec", "predictor", "timeout"]);
    let models = routes::trained(service, &request.related);
    let has = |component: &str| companions.components.iter().find(|(other, _)| *other == component);
    let explainer = has("explainer").map(|(_, model)| model.clone());
    let whole =
        Parts { backends: backends.clone(), transformer: in_front, explainer, models: models.clone() };
    children.push(routes::route(service, name, "", timeout, whole));
    let bare = Parts { backends, transformer: None, explainer: None, models };
    children.push(routes::route(service, &stem, "predictor", timeout, bare));
    for (component, model) in &companions.components {
        children.push(routes::to_one(service, model, component, model));
    }

    let components = &companions.components;
    let status =
        status::of(&Observed { request, plan: plan.as_ref(), server: &predictor.server, components });
    let notes: Vec<&String> = predictor.notes.iter().chain(&companions.notes).collect();
    let events = events(service, &status, &notes);
    Ok(SyncResponse { children, status: Some(status), events, ..SyncResponse::default() })
}

/// Whether the spec was not seen yet.
fn news(service: &Value) -> bool {
    let seen = service.int(&["status", "observedGeneration"]);
    seen.is_none() || seen != service.int(&["metadata", "generation"])
}

/// What the user should hear: once for each spec what has no effect, and each turn of the readiness.
fn events(service: &Value, status: &Value, notes: &[&String]) -> Vec<Event> {
    let mut events = Vec::new();
    if news(service) {
        let ignored = notes.iter().map(|note| Event {
            severity: Severity::Warning,
            reason: "NoEffect".to_owned(),
            message: (*note).clone(),
        });
        events.extend(ignored);
    }
    let after = json!({"status": status});
    let (was, is) = (service.is_true("Ready"), after.is_true("Ready"));
    let name = service.name();
    let mut tell = |severity, reason: &str, message: String| {
        events.push(Event { severity, reason: reason.to_owned(), message });
    };
    if is && !was {
        tell(Severity::Normal, "InferenceServiceReady", format!("InferenceService [{name}] is Ready"));
    }
    if was && !is {
        tell(
            Severity::Warning,
            "InferenceServiceNotReady",
            format!("InferenceService [{name}] is no longer Ready"),
        );
    }
    for kind in ["TransformerReady", "ExplainerReady"] {
        let component = State::observed(Some(&after), kind);
        if !component.message.is_empty() && component.is_new_failure(service, kind) {
            tell(Severity::Warning, &component.reason, component.message);
        }
    }
    let said =
        |object: &Value| object.text(&["status", "modelStatus", "lastFailureInfo", "message"]).to_owned();
    let failure = said(&after);
    if !failure.is_empty() && failure != said(service) {
        let reason = after.text(&["status", "modelStatus", "lastFailureInfo", "reason"]).to_owned();
        let revision =
            after.text(&["status", "modelStatus", "lastFailureInfo", "modelRevisionName"]).to_owned();
        if !revision.is_empty() {
            tell(Severity::Warning, &reason, format!("revision {revision}: {failure}"));
        }
    }
    events
}
