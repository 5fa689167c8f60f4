//! `status.modelStatus`: whether the model of the current spec is loaded, and whether one answers meanwhile.
//!
//! A Model says how far it is in three conditions, one after the other: `Resolved`, `Loaded`, `Ready`.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Object as _, SyncRequest};

use crate::names::GENERIC;
use crate::revisions::{Plan, is_ready};

/// Reasons of a condition that is False for a while and not for good.
const UNDER_WAY: &[&str] = &[
    "Pending",
    "Waiting",
    "Starting",
    "Progressing",
    "Resolving",
    "Fetching",
    "Downloading",
    "Loading",
    "Scaling",
    "NotLoaded",
    "NotReady",
    "ContainersNotReady",
    "Resolved",
];

/// How far a Model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    Ready,
    Pending {
        reason: String,
        message: String,
    },
    Failed {
        /// As in `lastFailureInfo`.
        kind: &'static str,
        reason: String,
        message: String,
    },
}

/// How far this one is. One that was not seen is pending.
pub(crate) fn progress(model: Option<&Value>) -> Progress {
    let pending = |reason: &str, message: &str| Progress::Pending {
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let Some(model) = model else { return pending("", "") };
    if is_ready(model) {
        return Progress::Ready;
    }
    for (condition, kind) in
        [("Resolved", "NoSupportingRuntime"), ("Loaded", "ModelLoadFailed"), ("Ready", "RuntimeUnhealthy")]
    {
        let Some(found) = model.condition(condition) else { continue };
        let (reason, message) = (found.text(&["reason"]), found.text(&["message"]));
        match found.text(&["status"]) {
            "True" => {}
            "False" if !UNDER_WAY.contains(&reason) => {
                // A place that cannot be read is no lack of a runtime.
                let unread = ["Source", "Fetch", "Download", "Digest", "Secret"]
                    .iter()
                    .any(|word| reason.contains(word));
                let kind = if unread { "ModelLoadFailed" } else { kind };
                return Progress::Failed { kind, reason: reason.to_owned(), message: message.to_owned() };
            }
            _ => return pending(reason, message),
        }
    }
    pending("", "")
}

/// The state of one Model in KServe's words.
fn state(model: Option<&Value>) -> &'static str {
    match progress(model) {
        Progress::Ready => {
            let idle = model.is_some_and(|model| {
                model.int(&["status", "replicas"]) == Some(0)
                    && model.int(&["spec", "scaling", "minReplicas"]) == Some(0)
            });
            if idle { "Standby" } else { "Loaded" }
        }
        Progress::Failed { .. } => "FailedToLoad",
        Progress::Pending { .. } if model.is_some_and(|model| model.is_true("Resolved")) => "Loading",
        Progress::Pending { .. } => "Pending",
    }
}

/// The model status of a service with revisions.
pub(crate) fn of(request: &SyncRequest, plan: &Plan) -> Value {
    let model = |name: &str| request.child(GENERIC, "Model", name);
    let created = model(&plan.created);
    let target = state(created);
    let active = match plan.ready.as_deref() {
        Some(name) => match state(model(name)) {
            "Standby" => "Standby",
            _ => "Loaded",
        },
        None if target == "FailedToLoad" => "",
        None => "Pending",
    };
    let transition = match target {
        "Loaded" | "Standby" => "UpToDate",
        "FailedToLoad" => "BlockedByFailedLoad",
        _ => "InProgress",
    };
    let copies = created.and_then(|model| model.int(&["status", "replicas"])).unwrap_or_default();
    let failed = i64::from(target == "FailedToLoad");
    let mut status = json!({
        "transitionStatus": transition,
        "states": {"activeModelState": active, "targetModelState": target},
        "copies": {"failedCopies": failed, "totalCopies": copies},
    });
    if let Progress::Failed { kind, message, .. } = progress(created) {
        status["lastFailureInfo"] = json!({"reason": kind, "message": message, "modelRevisionName": plan.created, "location": plan.created});
    }
    status
}

/// The model status of a service whose models are all TrainedModels.
pub(crate) fn without_model(ready: bool) -> Value {
    json!({"transitionStatus": if ready { "UpToDate" } else { "InProgress" }})
}

/// The model status of a service whose runtime cannot be taken.
pub(crate) fn refused(service: &Value, reason: &str, message: &str) -> Value {
    let active = service.text(&["status", "modelStatus", "states", "activeModelState"]);
    json!({
        "transitionStatus": "InvalidSpec",
        "states": {"activeModelState": active, "targetModelState": "FailedToLoad"},
        "lastFailureInfo": {"reason": reason, "message": message},
    })
}
