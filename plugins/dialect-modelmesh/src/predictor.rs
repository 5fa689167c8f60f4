//! A Predictor: a Model for its spec, the one before while it is needed, and a Route.

use purlin_sdk::serde_json::{Value, from_str};
use purlin_sdk::{Event, Object as _, Severity, SyncRequest, SyncResponse};
use purlin_serving::names::GENERIC;

use crate::{model, status, versions};

/// How soon to look again for a runtime that is not there. Its arrival is seen at once; this is for the rest.
const RUNTIME_RETRY_MS: u64 = 60_000;

/// Translates. Whatever is wrong with the spec is in the status, as with ModelMesh, and what was served before goes on.
pub(crate) fn sync(request: &SyncRequest) -> SyncResponse {
    let predictor = &request.parent;
    let spec = match model::spec(predictor, &request.related, idle_seconds(request)) {
        Ok(spec) => spec,
        Err(refused) => {
            let status = status::refused(request, &refused);
            return SyncResponse {
                children: request.children.iter().map(versions::as_observed).collect(),
                events: events(predictor, &status),
                status: Some(status),
                requeue_after_ms: (!refused.is_of_spec()).then_some(RUNTIME_RETRY_MS),
            };
        }
    };
    let versions = versions::plan(request, &spec);
    let status = status::of(request, &versions);
    let mut events = events(predictor, &status);
    // Once for each spec: when its Model is made.
    if request.child(GENERIC, "Model", &versions.target).is_none() {
        events.extend(model::notes(predictor, &spec).into_iter().map(|message| Event {
            severity: Severity::Warning,
            reason: "NoEffect".to_owned(),
            message,
        }));
    }
    SyncResponse {
        children: versions::children(request, &versions, &spec),
        status: Some(status),
        requeue_after_ms: None,
        events,
    }
}

/// What the plugin's configuration says.
fn idle_seconds(request: &SyncRequest) -> Option<i64> {
    let config: Value = from_str(&request.context.config).ok()?;
    config.int(&["idleSeconds"])
}

/// Turns of the availability, and failures that are new.
fn events(predictor: &Value, status: &Value) -> Vec<Event> {
    let mut events = Vec::new();
    let name = predictor.name();
    let available = |status: &Value| status.at(&["available"]).and_then(Value::as_bool).unwrap_or_default();
    let (was, is) = (available(&predictor["status"]), available(status));
    let mut tell = |severity, reason: &str, message: String| {
        events.push(Event { severity, reason: reason.to_owned(), message });
    };
    if is && !was {
        tell(Severity::Normal, "PredictorAvailable", format!("Predictor {name} answers"));
    }
    if was && !is {
        tell(Severity::Warning, "PredictorUnavailable", format!("Predictor {name} no longer answers"));
    }
    // A Model that is tried again may fail in other words each time: once is enough for it.
    let said = |status: &Value| {
        let text = |field: &str| status.text(&["lastFailureInfo", field]).to_owned();
        let (reason, model, message) = (text("reason"), text("modelId"), text("message"));
        let words = if model.is_empty() { message.clone() } else { model };
        ((reason, words), message)
    };
    let (failure, message) = said(status);
    if !message.is_empty() && failure != said(&predictor["status"]).0 {
        tell(Severity::Warning, &failure.0, message);
    }
    events
}
