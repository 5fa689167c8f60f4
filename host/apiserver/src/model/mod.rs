//! The one place where the server asks what objects of a kind look like: admission, patches, ownership, fields, columns.
//!
//! Everything here is pure and delegates to `purlin-schema` where that crate has the knowledge.

pub(crate) mod selector;
pub(crate) mod table;

use purlin_schema::managed::{self, ApplyError, Writer};
use purlin_schema::patch::{self, PatchError};
use purlin_schema::{
    FieldError, FieldErrorKind, Schema, apply_defaults, builtin, drop_nulls, prune, validate,
};
use serde_json::Value;

use crate::catalogue::{Resource, custom};
use crate::engine::Intent;
use crate::rest::query::FieldValidation;
use crate::status::{ApiError, Cause};

/// The ways to patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// The schema of a resource's objects, where it is known.
fn schema(resource: &Resource) -> Option<Schema> {
    match &resource.custom {
        Some(custom) => custom.parsed.clone(),
        None => builtin::schema(&resource.group, &resource.version, &resource.kind),
    }
}

/// Prunes, fills in defaults and validates; `old` is the stored object on an update. The answer is warnings.
pub(crate) fn admit(
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    intent: &Intent,
) -> Result<Vec<String>, ApiError> {
    let Some(schema) = schema(resource) else {
        own(resource, old, object, intent);
        return Ok(Vec::new());
    };
    let warnings = unknown_fields(resource, prune(object, &schema), intent)?;
    if resource.custom.is_some() {
        apply_defaults(object, &schema);
    } else {
        drop_nulls(object, &schema);
    }
    let mut errors = validate(object, old, &schema);
    if resource.custom.is_none() {
        if let Some(error) = errors.iter().find(|error| error.kind == FieldErrorKind::TypeInvalid) {
            // The real server meets a wrong type while decoding, before there is an object to be invalid.
            return Err(undecodable(resource, &format!("json: {error}")));
        }
        builtin::defaults::fill(&resource.group, &resource.kind, object);
        // What follows is the server's own doing, which belongs to nobody.
        own(resource, old, object, intent);
        match old {
            None => builtin::defaults::prepare(&resource.group, &resource.kind, object),
            Some(old) => builtin::defaults::carry(&resource.group, &resource.kind, object, old),
        }
        // What was missing may be filled in now.
        errors = validate(object, old, &schema);
        // A subresource may change what a plain update may not.
        if intent.subresource.is_empty() {
            errors.extend(builtin::validation::validate(&resource.group, &resource.kind, object, old));
        }
    }
    if resource.is(custom::GROUP, custom::PLURAL) {
        errors.extend(custom::check(object));
    }
    if errors.is_empty() {
        if resource.custom.is_some() {
            own(resource, old, object, intent);
        }
        return Ok(warnings);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource.about_kind(name), errors.iter().map(cause).collect()))
}

fn cause(error: &FieldError) -> Cause {
    Cause { reason: error.kind.reason().to_owned(), message: error.message(), field: error.path.clone() }
}

fn unknown_fields(
    resource: &Resource,
    dropped: Vec<String>,
    intent: &Intent,
) -> Result<Vec<String>, ApiError> {
    let said: Vec<String> = dropped.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    match intent.validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(said),
        FieldValidation::Strict if said.is_empty() => Ok(said),
        FieldValidation::Strict => {
            Err(undecodable(resource, &format!("strict decoding error: {}", said.join(", "))))
        }
    }
}

fn undecodable(resource: &Resource, why: &str) -> ApiError {
    let Resource { kind, version, .. } = resource;
    ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

/// Runs `act` as the writer that a request is.
fn writing<T>(resource: &Resource, intent: &Intent, act: impl FnOnce(&Writer<'_>) -> T) -> T {
    let reset: &[&[&str]] = match intent.subresource.as_str() {
        "status" if resource.custom.is_some() => &[&["spec"], &["metadata"]],
        "status" => &[&["spec"]],
        _ if resource.has_subresource("status") => &[&["status"]],
        _ => &[],
    };
    act(&Writer {
        manager: &intent.manager,
        api_version: &resource.api_version(),
        subresource: &intent.subresource,
        reset,
        now: jiff::Timestamp::now(),
    })
}

/// Writes down in `managedFields` what this write set, unless it is an apply, which has done so.
fn own(resource: &Resource, old: Option<&Value>, object: &mut Value, intent: &Intent) {
    if intent.applied {
        return;
    }
    let schema = schema(resource);
    *object = writing(resource, intent, |writer| {
        managed::update(old, std::mem::take(object), writer, schema.as_ref())
    });
}

/// The object after `applied` was applied by the server-side rules.
pub(crate) fn apply(
    resource: &Resource,
    old: Option<&Value>,
    applied: &Value,
    intent: &Intent,
) -> Result<Value, ApiError> {
    let schema = schema(resource);
    let outcome = writing(resource, intent, |writer| {
        managed::apply(old, applied, intent.force, writer, schema.as_ref())
    });
    outcome.map_err(|error| match error {
        ApplyError::Conflicts(conflicts) => ApiError::apply_conflict(
            conflicts.to_string(),
            conflicts
                .0
                .iter()
                .map(|conflict| Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: conflict.message.clone(),
                    field: conflict.field.clone(),
                })
                .collect(),
        ),
        ApplyError::ManagedFields => ApiError::bad_request(error.to_string()),
    })
}

/// `old` with `patch` applied.
pub(crate) fn patch(
    resource: &Resource,
    old: &Value,
    kind: PatchKind,
    patch: &Value,
    intent: &Intent,
) -> Result<Value, ApiError> {
    let patched = match kind {
        PatchKind::Json => patch::json(old.clone(), patch),
        PatchKind::Merge => Ok(patch::merge(old.clone(), patch)),
        PatchKind::Strategic => patch::strategic(old.clone(), patch, schema(resource).as_ref()),
        PatchKind::Apply => return apply(resource, Some(old), patch, intent),
    };
    patched.map_err(|error| match error {
        PatchError::Malformed(why) => ApiError::bad_request(why),
        PatchError::Unfitting(why) => {
            tracing::debug!(why, "a patch does not fit its object");
            ApiError::unfitting_patch()
        }
    })
}

/// Refuses a field that objects of the resource cannot be selected by.
pub(crate) fn check_field(resource: &Resource, path: &str) -> Result<(), ApiError> {
    let dotted = format!(".{path}");
    let custom = resource.custom.as_ref().is_some_and(|custom| custom.fields.contains(&dotted));
    let known: &[&str] = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("apps", "replicasets") | ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    };
    let always = path == "metadata.name" || (path == "metadata.namespace" && resource.namespaced);
    if always || custom || known.contains(&path) {
        return Ok(());
    }
    Err(ApiError::bad_request(if resource.custom.is_some() || !known.is_empty() {
        format!("field label not supported: {path}")
    } else {
        format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }))
}

/// The value that a field selector compares.
pub(crate) fn field(object: &Value, path: &str) -> String {
    match at_path(object, path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
            "status.replicas" | "status.successful" => "0".into(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

/// What a simple path (`.spec.replicas`) leads to.
pub(crate) fn at_path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(object, |place, step| place.get(step))
}
