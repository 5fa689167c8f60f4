//! Questions that are asked by creating an object which is answered and never stored: who am I, may I, is this token good.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::body;
use super::request::ApiRequest;
use super::respond;
use crate::auth::{Attributes, Identity};
use crate::catalogue::Resource;
use crate::server::Core;
use crate::status::ApiError;

/// Whether objects of the resource are questions.
pub(super) fn is_review(resource: &Resource) -> bool {
    matches!(resource.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io")
}

/// Answers one question.
pub(super) fn answer(core: &Arc<Core>, request: &ApiRequest, plural: &str) -> Result<Response, ApiError> {
    let resource = &request.resource;
    let mut review = body::object(request, &resource.group, &resource.version, &resource.kind)?;
    if review["metadata"].is_null() {
        review["metadata"] = json!({"creationTimestamp": null});
    }
    review["status"] = match plural {
        "selfsubjectreviews" => json!({"userInfo": user_info(&request.identity)}),
        "tokenreviews" => token(core, &review),
        "selfsubjectrulesreviews" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "selfsubjectaccessreviews" => access(core, &request.identity, &review["spec"]),
        _ => access(core, &subject(&review["spec"]), &review["spec"]),
    };
    Ok(respond::value(request, 201, &review))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user, "groups": identity.groups});
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    info
}

fn token(core: &Core, review: &Value) -> Value {
    let given = review["spec"]["token"].as_str().unwrap_or_default();
    match core.authenticate(given) {
        Some((identity, audiences)) => {
            json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
        }
        None => json!({"user": {}, "error": "invalid bearer token"}),
    }
}

fn subject(spec: &Value) -> Identity {
    let groups = spec["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    Identity {
        user: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: groups.iter().filter_map(|group| group.as_str().map(str::to_owned)).collect(),
    }
}

fn access(core: &Core, identity: &Identity, spec: &Value) -> Value {
    let asked = &spec["resourceAttributes"];
    let text = |field: &str| asked[field].as_str().unwrap_or_default();
    let attributes = Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
    };
    match core.authorizer.authorize(identity, &attributes) {
        Ok(()) => json!({"allowed": true}),
        Err(why) if why.is_empty() => json!({"allowed": false}),
        Err(why) => json!({"allowed": false, "reason": why}),
    }
}
