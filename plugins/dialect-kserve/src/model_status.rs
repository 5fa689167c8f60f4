//! `status.modelStatus`: whether the model of the current spec is loaded, and whether one answers meanwhile.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Object as _, SyncRequest};
use purlin_serving::mesh::Told;
use purlin_serving::progress::{self, Progress, state};

use crate::names::GENERIC;
use crate::revisions::Plan;
use crate::words;

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
    if let Progress::Failed { kind, message, .. } = progress::of(created) {
        let message = words::of_predictor(&request.parent, &message);
        status["lastFailureInfo"] = json!({"reason": kind, "message": message, "modelRevisionName": plan.created, "location": plan.created});
    }
    status
}

/// The same with ModelMesh, which tells of a target only while it is another than what is active.
pub(crate) fn of_mesh(service: &Value, told: &Told, plan: &Plan) -> Value {
    let mut status = json!({
        "transitionStatus": told.transition,
        "states": {"activeModelState": told.active, "targetModelState": told.target},
        "copies": {"failedCopies": told.failed_copies, "totalCopies": told.total_copies},
    });
    if let Some(failure) = &told.failure {
        let mut info = json!({
            "reason": failure.reason, "message": words::of_predictor(service, &failure.message),
            "modelRevisionName": plan.created,
        });
        for (field, text) in [("location", &failure.location), ("time", &failure.time)] {
            if !text.is_empty() {
                info[field] = text.as_str().into();
            }
        }
        status["lastFailureInfo"] = info;
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
