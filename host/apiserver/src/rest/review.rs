//! Questions that are asked by creating an object which is answered and never stored: who am I, may I, is this token good.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::body;
use super::request::ApiRequest;
use super::respond;
use crate::auth::rbac::{Decision, Rule};
use crate::auth::{Attributes, Identity, Wanted};
use crate::catalogue::Resource;
use crate::server::Core;
use crate::status::{About, ApiError, Cause};

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
        "selfsubjectreviews" => json!({"userInfo": user_info(request.identity())}),
        "tokenreviews" => token(core, &review["spec"])?,
        "selfsubjectrulesreviews" => {
            let status = rules(core, request.identity(), &review["spec"])?;
            // A real server answers the rules alone.
            review = json!({"kind": review["kind"], "apiVersion": review["apiVersion"], "metadata": {}, "spec": {}});
            status
        }
        "selfsubjectaccessreviews" => {
            check(resource, request, &review, false)?;
            access(core, request.identity(), &review["spec"])
        }
        _ => {
            check(resource, request, &review, true)?;
            access(core, &subject(&review["spec"]), &review["spec"])
        }
    };
    Ok(respond::value(request, 201, &review))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user});
    if !identity.groups.is_empty() {
        info["groups"] = identity.groups.clone().into();
    }
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

fn token(core: &Core, spec: &Value) -> Result<Value, ApiError> {
    let given = spec["token"].as_str().unwrap_or_default();
    if given.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    Ok(match core.authenticate(given, &texts(&spec["audiences"])) {
        Ok((identity, audiences)) => {
            json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
        }
        Err(why) => json!({"user": {}, "error": why}),
    })
}

fn subject(spec: &Value) -> Identity {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    Identity { user: text("user"), uid: text("uid"), groups: texts(&spec["groups"]), ..Identity::default() }
}

/// Everything that the caller may do in a namespace.
fn rules(core: &Core, identity: &Identity, spec: &Value) -> Result<Value, ApiError> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let rights = core.engine.rbac.rights(identity, namespace);
    let (of_paths, of_resources): (Vec<&Rule>, Vec<&Rule>) =
        rights.rules.iter().partition(|rule| !rule.paths.is_empty());
    let values = |rules: Vec<&Rule>| -> Vec<Value> { rules.into_iter().map(Rule::value).collect() };
    let mut status = json!({
        "resourceRules": values(of_resources), "nonResourceRules": values(of_paths), "incomplete": false,
    });
    if let Some(why) = rights.unknown {
        status["evaluationError"] = why.into();
    }
    Ok(status)
}

/// Refuses a question that does not say what it is about, or of whom.
fn check(
    resource: &Resource,
    request: &ApiRequest,
    review: &Value,
    of_subject: bool,
) -> Result<(), ApiError> {
    let spec = &review["spec"];
    let (objects, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut causes = Vec::new();
    if objects.is_null() == path.is_null() {
        let shown = if path.is_null() { "null".to_owned() } else { path.to_string() };
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        causes.push(Cause::of("Invalid", "spec", format!("Invalid value: {shown}: {why}")));
    }
    let nobody = spec["user"].as_str().unwrap_or_default().is_empty() && texts(&spec["groups"]).is_empty();
    if of_subject && nobody {
        let why = "Invalid value: \"\": at least one of user or group must be specified";
        causes.push(Cause::of("Invalid", "spec.user", why));
    }
    let namespace = objects["namespace"].as_str().unwrap_or_default();
    if resource.namespaced && !objects.is_null() && namespace != request.namespace() {
        let why = format!("Invalid value: {namespace:?}: must match metadata.namespace");
        causes.push(Cause::of("Invalid", "spec.resourceAttributes.namespace", why));
    }
    if causes.is_empty() {
        return Ok(());
    }
    // A real server has lost the kind by then.
    Err(ApiError::invalid(About { group: &resource.group, kind: "", name: "" }, causes))
}

fn access(core: &Core, identity: &Identity, spec: &Value) -> Value {
    let (objects, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |field: &str| objects[field].as_str().unwrap_or_default();
    let asked = if path.is_null() {
        Attributes {
            verb: text("verb"),
            wanted: Wanted::Resource {
                group: text("group"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
            },
        }
    } else {
        Attributes {
            verb: path["verb"].as_str().unwrap_or_default(),
            wanted: Wanted::Path(path["path"].as_str().unwrap_or_default()),
        }
    };
    let (allowed, reason) = match core.engine.rbac.authorize(identity, &asked) {
        Decision::Allowed(why) => (true, why),
        Decision::Refused(why) => (false, why),
    };
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}
