//! `serviceaccounts/token`: tokens for service accounts.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::body;
use super::request::ApiRequest;
use super::respond;
use crate::auth::token::{Account, Bound, BoundKind, ISSUER};
use crate::server::Core;
use crate::status::{About, ApiError, Cause};

/// The shortest and the longest life of a token, and the usual one, in seconds.
const LIFE: (i64, i64, i64) = (600, 1 << 32, 3600);

/// Answers a `TokenRequest`.
pub(super) fn issue(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let mut asked = body::object(request, "authentication.k8s.io", "v1", "TokenRequest")?;
    let account = core.engine.get(&request.resource, request.namespace(), request.name())?;
    let seconds = asked["spec"]["expirationSeconds"].as_i64().unwrap_or(LIFE.2);
    if seconds < LIFE.0 || seconds > LIFE.1 {
        let message = if seconds < LIFE.0 {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        return Err(ApiError::invalid(
            About { group: "authentication.k8s.io", kind: "TokenRequest", name: "" },
            vec![Cause {
                reason: "FieldValueInvalid".into(),
                message: format!("Invalid value: {seconds}: {message}"),
                field: "spec.expirationSeconds".into(),
            }],
        ));
    }
    let mut audiences: Vec<String> = asked["spec"]["audiences"]
        .as_array()
        .map(|given| given.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let now = jiff::Timestamp::now();
    let expires = now
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .map_err(ApiError::internal)?
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let account = Account {
        namespace: request.namespace().to_owned(),
        name: request.name().to_owned(),
        uid: account.facts.uid.to_string(),
        audiences: audiences.clone(),
        bound: bound(core, request, &asked["spec"]["boundObjectRef"])?,
        id: uuid::Uuid::new_v4().to_string(),
    };
    asked["metadata"] = json!({
        "name": request.name(), "namespace": request.namespace(), "uid": account.uid,
        "creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    asked["spec"]["audiences"] = audiences.into();
    asked["spec"]["expirationSeconds"] = seconds.into();
    if asked["spec"].get("boundObjectRef").is_none() {
        asked["spec"]["boundObjectRef"] = Value::Null;
    }
    asked["status"] = json!({
        "token": core.tokens.issue(&account, now.as_second(), seconds), "expirationTimestamp": expires,
    });
    Ok(respond::value(request, 201, &asked))
}

/// The object that the token is to end with, which must be there.
fn bound(core: &Core, request: &ApiRequest, given: &Value) -> Result<Option<Bound>, ApiError> {
    if given.is_null() {
        return Ok(None);
    }
    let text = |field: &str| given[field].as_str().unwrap_or_default();
    let (kind, name, uid) = (text("kind"), text("name"), text("uid"));
    let Some(kind) = BoundKind::of(kind).filter(|_| text("apiVersion") == "v1") else {
        let shown = format!("{}, Kind={kind}", text("apiVersion"));
        return Err(ApiError::bad_request(format!("cannot bind token to object of type {shown}")));
    };
    let namespace = if kind.is_namespaced() { request.namespace() } else { "" };
    let about = About { group: "", kind: kind.plural(), name };
    let stored = core
        .engine
        .store
        .get(&format!("/{}", kind.plural()), namespace, name)
        .ok_or_else(|| ApiError::not_found(about))?;
    if kind == BoundKind::Pod {
        let pod = stored.value().map_err(ApiError::internal)?;
        let other = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
        if other != request.name() {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                request.name()
            )));
        }
    }
    if !uid.is_empty() && uid != &*stored.facts.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::conflict(About { kind: text("kind"), ..about }, why));
    }
    Ok(Some(Bound { kind, name: name.to_owned(), uid: stored.facts.uid.to_string() }))
}
