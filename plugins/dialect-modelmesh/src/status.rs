//! The status of a Predictor, as ModelMesh has it.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Object as _, SyncRequest, time};
use purlin_serving::mesh::{self, Failure, Told};
use purlin_serving::names::GENERIC;

use crate::model::Refused;
use crate::versions::{self, Versions};

/// The status of a Predictor with Models.
pub(crate) fn of(request: &SyncRequest, versions: &Versions) -> Value {
    let model = |name: &str| request.child(GENERIC, "Model", name);
    let told = match versions.active == versions.target {
        true => Told::of(model(&versions.target), model(&versions.target)),
        false => Told::of(model(&versions.active), model(&versions.target)),
    };
    let route = request.child(GENERIC, "Route", request.parent.name());
    let way = route.and_then(|route| route.condition("Ready"));
    let open = way.is_some_and(|way| way.text(&["status"]) == "True");
    // A way that is barred is not the model's fault, and is told where the model's faults are.
    let barred = way.filter(|way| way.text(&["status"]) == "False").map(|way| Failure {
        reason: "InvalidPredictorSpec",
        message: way.text(&["message"]).to_owned(),
        location: String::new(),
        time: way.text(&["lastTransitionTime"]).to_owned(),
    });
    let failure = told.failure.as_ref().or(barred.as_ref());
    let info = failure.map(|failure| info(failure, &versions.target));
    written(request, &told, told.is_available() && open, told.transition, told.target, info)
}

/// The status of a Predictor whose spec is not served: what was served before goes on.
pub(crate) fn refused(request: &SyncRequest, refused: &Refused) -> Value {
    let before = versions::active(request);
    let mut told = Told::of(before, before);
    let transition = match (refused.is_of_spec(), before) {
        (true, _) => "InvalidSpec",
        (false, Some(_)) => "BlockedByFailedLoad",
        (false, None) => told.transition,
    };
    let mut target = "";
    if !refused.is_of_spec() {
        match before {
            Some(_) => target = "FailedToLoad",
            None => told.active = "FailedToLoad",
        }
    }
    let earlier = &request.parent["status"]["lastFailureInfo"];
    let same = earlier.text(&["message"]) == refused.message && earlier.text(&["reason"]) == refused.reason;
    let time = Some(earlier.text(&["time"])).filter(|time| same && !time.is_empty()).map(str::to_owned);
    let time = time.unwrap_or_else(|| time::rfc3339(request.context.now_ms));
    let info = json!({"reason": refused.reason, "message": refused.message, "time": time});
    written(request, &told, told.is_available(), transition, target, Some(info))
}

/// `lastFailureInfo`.
fn info(failure: &Failure, target: &str) -> Value {
    let mut info = json!({"reason": failure.reason, "message": failure.message, "modelId": target});
    for (field, text) in [("location", &failure.location), ("time", &failure.time)] {
        if !text.is_empty() {
            info[field] = text.as_str().into();
        }
    }
    info
}

fn written(
    request: &SyncRequest,
    told: &Told,
    available: bool,
    transition: &str,
    target: &str,
    info: Option<Value>,
) -> Value {
    let predictor = &request.parent;
    let mut status = json!({
        "available": available,
        "transitionStatus": transition,
        "activeModelState": told.active,
        "targetModelState": target,
        "failedCopies": told.failed_copies,
        "totalCopies": told.total_copies,
    });
    // An address that was told once stays: clients hold on to it.
    let endpoints = mesh::endpoints(request.child(GENERIC, "Route", predictor.name()));
    let earlier = |field: &str| predictor.text(&["status", field]).to_owned();
    let (grpc, http) = match endpoints {
        Some(endpoints) => (endpoints.grpc, endpoints.rest),
        None => (earlier("grpcEndpoint"), earlier("httpEndpoint")),
    };
    for (field, endpoint) in [("grpcEndpoint", grpc), ("httpEndpoint", http)] {
        if !endpoint.is_empty() {
            status[field] = endpoint.into();
        }
    }
    if let Some(info) = info {
        status["lastFailureInfo"] = info;
    }
    status
}
