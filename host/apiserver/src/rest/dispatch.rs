//! The verbs on resources and on their status and scale: the path from a typed request to an answer.
//!
//! Reports every write to the audit sink and every request to the metrics, whichever way it ended.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::Value;

use super::gate::forbidden;
use super::query::{Propagation, dry_run_of, propagation_of};
use super::request::{ApiRequest, Verb};
use super::{body, pods, report, respond, review, tokens, watch};
use crate::auth::rbac::{self, Decision};
use crate::auth::{Attributes, Author};
use crate::catalogue::Resource;
use crate::engine::delete::{DeleteOptions, Deleted};
use crate::engine::list::Selection;
use crate::engine::{Intent, Outcome, metadata, scale};
use crate::model::PatchKind;
use crate::server::Core;
use crate::status::{ApiError, Cause, success};

/// Everything below a group and version.
pub(super) async fn resource(State(core): State<Arc<Core>>, request: ApiRequest) -> Response {
    let began = (Instant::now(), jiff::Timestamp::now());
    let mut response = match handle(&core, &request).await {
        Ok(response) => response,
        Err(error) => respond::failure_as(request.format, &error),
    };
    if let Some(warning) = request.resource.custom.as_ref().and_then(|custom| custom.deprecated.as_deref()) {
        add_warning(&mut response, warning);
    }
    let code = response.status().as_u16();
    core.metrics.request(request.verb.name(), &request.target.plural, code, began.0.elapsed());
    if request.verb.writes()
        && let Some(sink) = &core.audit
    {
        let seen = report::Seen {
            uri: &request.uri,
            agent: request.header(header::USER_AGENT),
            manager: request.query.field_manager.as_deref(),
            began: began.1,
            allowed: true,
        };
        sink.record(report::record(&request.admitted, &seen, code));
    }
    response
}

async fn handle(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    match (request.subresource(), request.resource.plural.as_str()) {
        ("", plural) if review::is_review(&request.resource) => review::answer(core, request, plural),
        ("", "bindings") => pods::bind(core, request).await,
        ("", _) => object(core, request).await,
        ("status" | "finalize", _) => object(core, request).await,
        ("scale", _) => scaled(core, request).await,
        ("log", "pods") => pods::log(core, request).await,
        ("binding", "pods") => pods::bind(core, request).await,
        ("eviction", "pods") => pods::evict(core, request).await,
        ("token", "serviceaccounts") => tokens::issue(core, request),
        _ => Err(ApiError::no_such_resource()),
    }
}

async fn object(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let engine = &core.engine;
    let resource = &*request.resource;
    let (namespace, name) = (request.namespace(), request.name());
    let mut intent = intent(request);
    let mut sent = || {
        let sent = body::sent(request, &resource.group, &resource.version, &resource.kind)?;
        intent.twice = sent.twice;
        Ok::<_, ApiError>(sent.object)
    };
    match request.verb {
        Verb::Get => {
            let stored = engine.get(resource, namespace, name)?;
            if let Some(wanted) =
                request.query.resource_version.filter(|wanted| *wanted > engine.store.revision())
            {
                return Err(ApiError::too_large_revision(wanted, engine.store.revision()));
            }
            respond::object(engine, request, 200, &stored)
        }
        Verb::List => {
            let selection = Selection::new(resource, &request.query)?;
            let listed =
                engine.list(resource, request.target.namespace.as_deref(), &selection, &request.query)?;
            respond::list(engine, request, &listed)
        }
        Verb::Watch => watch::answer(core, request),
        Verb::Create => {
            let object = sent()?;
            let outcome = engine.create(resource, namespace, object, &intent).await?;
            written(core, request, &outcome)
        }
        Verb::Update => {
            let object = sent()?;
            let outcome = engine.update(resource, namespace, name, object, &intent).await?;
            written(core, request, &outcome)
        }
        Verb::Patch => {
            let (kind, patch) = body::patch(request)?;
            check_apply(request, kind)?;
            if kind == PatchKind::Apply {
                intent.creation_refused = creation_refused(core, request);
            }
            let outcome = engine.patch(resource, namespace, name, kind, &patch, &intent).await?;
            written(core, request, &outcome)
        }
        Verb::Delete => {
            let (options, warning) = delete_options(request)?;
            let deleted = engine.delete(resource, namespace, name, &options).await?;
            warned(deletion(core, request, deleted)?, warning)
        }
        Verb::DeleteCollection => {
            let (options, warning) = delete_options(request)?;
            let selection = Selection::new(resource, &request.query)?;
            let mut listed =
                engine.list(resource, request.target.namespace.as_deref(), &selection, &request.query)?;
            let mut kept = Vec::with_capacity(listed.items.len());
            for stored in std::mem::take(&mut listed.items) {
                match engine.delete(resource, &stored.key.namespace, &stored.key.name, &options).await {
                    Ok(Deleted::Gone(object) | Deleted::Pending(object)) => kept.push(object),
                    Err(error) if error.code == 404 => {}
                    Err(error) => return Err(error),
                }
            }
            listed.items = kept;
            warned(respond::list(engine, request, &listed)?, warning)
        }
    }
}

fn intent(request: &ApiRequest) -> Intent {
    let guarded = request.resource.group == rbac::GROUP;
    let author =
        guarded.then(|| Author { identity: request.identity().clone(), name: request.name().to_owned() });
    Intent {
        author,
        ..Intent::new(&request.query, request.header(header::USER_AGENT), request.subresource())
    }
}

/// Why an apply may not make what it does not find, if it may not.
fn creation_refused(core: &Core, request: &ApiRequest) -> Option<Box<ApiError>> {
    let asked = Attributes { verb: "create", ..request.admitted.asked.attributes() };
    match core.engine.rbac.authorize(request.identity(), &asked) {
        Decision::Allowed(_) => None,
        Decision::Refused(why) => Some(Box::new(forbidden(request.identity(), &asked, &why))),
    }
}

fn check_apply(request: &ApiRequest, kind: PatchKind) -> Result<(), ApiError> {
    if kind == PatchKind::Apply && request.query.field_manager.is_none() {
        let cause = Cause::of("Required", "fieldManager", "Required value: is required for apply patch");
        return Err(ApiError::invalid_options("PatchOptions", vec![cause]));
    }
    if kind != PatchKind::Apply && request.query.raw("force").is_some() {
        let cause = Cause::of("Forbidden", "force", "Forbidden: may not be specified for non-apply patch");
        return Err(ApiError::invalid_options("PatchOptions", vec![cause]));
    }
    Ok(())
}

fn written(core: &Core, request: &ApiRequest, outcome: &Outcome) -> Result<Response, ApiError> {
    let code = if outcome.created { 201 } else { 200 };
    let mut response = respond::object(&core.engine, request, code, &outcome.object)?;
    for warning in &outcome.warnings {
        add_warning(&mut response, warning);
    }
    Ok(response)
}

/// RFC 7234's header, as client libraries print it.
fn add_warning(response: &mut Response, warning: &str) {
    let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        response.headers_mut().append(header::WARNING, value);
    }
}

/// Kinds whose deletion answers the object that went.
fn answers_object(resource: &Resource) -> bool {
    resource.group.is_empty()
        && matches!(
            resource.plural.as_str(),
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "podtemplates"
                | "resourcequotas"
        )
}

fn deletion(core: &Core, request: &ApiRequest, deleted: Deleted) -> Result<Response, ApiError> {
    match deleted {
        Deleted::Pending(object) => respond::object(&core.engine, request, 200, &object),
        Deleted::Gone(object) if answers_object(&request.resource) => {
            respond::object(&core.engine, request, 200, &object)
        }
        Deleted::Gone(object) => {
            let status = success(request.resource.about(&object.key.name), &object.facts.uid);
            Ok(respond::value(request, 200, &status))
        }
    }
}

fn warned(mut response: Response, warning: Option<&str>) -> Result<Response, ApiError> {
    if let Some(warning) = warning {
        add_warning(&mut response, warning);
    }
    Ok(response)
}

const PODS_PRESERVED: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background \
    to remove them or set propagationPolicy=Orphan to suppress this warning";

/// What the client asked for, and what to warn it of.
fn delete_options(request: &ApiRequest) -> Result<(DeleteOptions, Option<&'static str>), ApiError> {
    let given = if request.body.is_empty() {
        Value::Null
    } else {
        body::value(request, "meta.k8s.io/v1", "DeleteOptions")?
    };
    let query = &request.query;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut propagation = query.propagation;
    if let Some(name) = given["propagationPolicy"].as_str() {
        propagation = Some(propagation_of(name)?);
        if given["orphanDependents"].is_boolean() {
            let message = format!(
                "Invalid value: \"{name}\": orphanDependents and deletionPropagation cannot be both set"
            );
            let cause = Cause::of("Invalid", "propagationPolicy", message);
            return Err(ApiError::invalid_options("DeleteOptions", vec![cause]));
        }
    }
    if let Some(Value::Array(asked)) = given.get("dryRun") {
        dry_run_of(&asked.iter().filter_map(Value::as_str).collect::<Vec<_>>(), "DeleteOptions")?;
    }
    if propagation.is_none()
        && let Some(orphan) = given["orphanDependents"].as_bool().or(query.orphan_dependents)
    {
        propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
    }
    // Jobs orphaned their Pods before there was a choice, and a client that makes none still gets that.
    let preserves = propagation.is_none() && request.resource.is("batch", "jobs");
    if preserves {
        propagation = Some(Propagation::Orphan);
    }
    let options = DeleteOptions {
        propagation,
        grace_period: given["gracePeriodSeconds"].as_i64().or(query.grace_period),
        uid: text(&given["preconditions"]["uid"]),
        resource_version: text(&given["preconditions"]["resourceVersion"]),
        dry_run: query.dry_run
            || given["dryRun"].as_array().is_some_and(|all| all.iter().any(|one| one == "All")),
    };
    Ok((options, preserves.then_some(PODS_PRESERVED)))
}

async fn scaled(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let engine = &core.engine;
    let resource = &*request.resource;
    let (namespace, name) = (request.namespace(), request.name());
    let stored = engine.get(resource, namespace, name)?;
    let current = engine.value_as(resource, &stored)?;
    let seen = scale::view(resource, &current)?;
    let wanted = match request.verb {
        Verb::Get => return Ok(respond::value(request, 200, &seen)),
        Verb::Patch => {
            let (kind, patch) = body::patch(request)?;
            let mut wanted = seen.clone();
            match kind {
                PatchKind::Json => {
                    let operations: json_patch::Patch = serde_json::from_value(patch)
                        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
                    json_patch::patch(&mut wanted, &operations)
                        .map_err(|error| ApiError::unprocessable(error.to_string()))?;
                }
                PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => {
                    json_patch::merge(&mut wanted, &patch)
                }
            }
            wanted
        }
        _ => body::object(request, "autoscaling", "v1", "Scale")?,
    };
    let new = scale::applied(resource, &current, &wanted)?;
    let version = metadata::text(&wanted, "resourceVersion");
    if !version.is_empty() && version != stored.revision.to_string() {
        return Err(ApiError::modified(resource.about(name)));
    }
    let mut intent = intent(request);
    intent.subresource = String::new();
    let outcome = engine.replace(resource, &stored, new, &intent).await?;
    let object = engine.value_as(resource, &outcome.object)?;
    Ok(respond::value(request, 200, &scale::view(resource, &object)?))
}
