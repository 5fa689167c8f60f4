//! The one place where the server asks what objects of a kind look like: admission, patches, ownership, fields, columns.
//!
//! Everything here is pure and delegates to `purlin-schema` where that crate has the knowledge.

pub(crate) mod selector;
pub(crate) mod table;

use purlin_schema::managed::{self, ApplyError, Writer, go_text};
use purlin_schema::patch::{self, PatchError};
use purlin_schema::typed::{self, Unreadable};
use purlin_schema::{
    FieldError, Schema, apply_defaults, builtin, prune, validate, validate_builtin, validate_status,
};
use serde_json::Value;

use crate::catalogue::{Resource, custom};
use crate::engine::Intent;
use crate::rest::query::FieldValidation;
use crate::status::{About, ApiError, Cause};

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

/// Why what was sent is no object of its kind.
enum Unread {
    /// It has fields that the kind does not have, and these are not to be passed over.
    Strict(String),
    /// A value is of another type than its field.
    Type(Unreadable),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Strict(fields) => write!(f, "strict decoding error: {fields}"),
            Self::Type(error) => error.fmt(f),
        }
    }
}

/// Reads what was sent as an object of its kind. The answer is warnings about fields that were dropped.
fn read(resource: &Resource, object: &mut Value, intent: &Intent) -> Result<Vec<String>, Unread> {
    let Some(schema) = schema(resource) else { return Ok(Vec::new()) };
    let unknown = prune(object, &schema);
    if resource.custom.is_none() {
        typed::settle(object, &resource.api_version(), &resource.kind).map_err(Unread::Type)?;
    }
    let twice = intent.twice.iter().map(|path| format!("duplicate field \"{path}\""));
    let unknown = unknown.iter().map(|path| format!("unknown field \"{path}\""));
    let said: Vec<String> = twice.chain(unknown).collect();
    match intent.validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(said),
        FieldValidation::Strict if said.is_empty() => Ok(said),
        FieldValidation::Strict => Err(Unread::Strict(said.join(", "))),
    }
}

/// Refuses a patch whose outcome is no object of the kind, naming the patch as what is wrong.
pub(crate) fn check_patched(
    resource: &Resource,
    patched: &Value,
    kind: PatchKind,
    patch: &Value,
    intent: &Intent,
) -> Result<(), ApiError> {
    let Err(why) = read(resource, &mut patched.clone(), intent) else { return Ok(()) };
    let (shown, why) = match (kind, &why) {
        (PatchKind::Strategic, Unread::Type(error)) => {
            (go_text(patch), error.unrestorable().unwrap_or_else(|| error.to_string()))
        }
        _ => (patched.to_string(), why.to_string()),
    };
    let message = format!("Invalid value: {}: {why}", Value::from(shown));
    let nobody = About { group: "", kind: "", name: "" };
    Err(ApiError::invalid(nobody, vec![Cause::of("Invalid", "patch", message)]))
}

/// Reads, fills in defaults and validates; `old` is the stored object on an update. The answer is warnings.
pub(crate) fn admit(
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    intent: &Intent,
) -> Result<Vec<String>, ApiError> {
    let warnings = read(resource, object, intent).map_err(|why| undecodable(resource, &why.to_string()))?;
    let errors = match schema(resource) {
        None => {
            own(resource, old, object, intent);
            Vec::new()
        }
        Some(schema) if resource.custom.is_some() => admit_custom(resource, object, old, &schema, intent),
        Some(schema) => admit_builtin(resource, object, old, &schema, intent),
    };
    if errors.is_empty() {
        return Ok(warnings);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource.about_kind(name), errors.iter().map(cause).collect()))
}

fn admit_custom(
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    schema: &Schema,
    intent: &Intent,
) -> Vec<FieldError> {
    apply_defaults(object, schema);
    let errors = match intent.subresource.as_str() {
        "status" => validate_status(object, old, schema),
        _ => validate(object, old, schema),
    };
    if errors.is_empty() {
        own(resource, old, object, intent);
    }
    errors
}

fn admit_builtin(
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    schema: &Schema,
    intent: &Intent,
) -> Vec<FieldError> {
    let (group, kind) = (resource.group.as_str(), resource.kind.as_str());
    builtin::defaults::fill(group, kind, object);
    // What follows is the server's own doing, which belongs to nobody.
    own(resource, old, object, intent);
    match old {
        None => builtin::defaults::prepare(group, kind, object),
        Some(old) => builtin::defaults::carry(group, kind, object, old),
    }
    let mut errors = match intent.subresource.as_str() {
        "" => builtin::validation::validate(group, kind, object, old),
        "status" => builtin::validation::validate_status(group, kind, object),
        // Other subresources may change what a plain update may not.
        _ => Vec::new(),
    };
    if resource.is(custom::GROUP, custom::PLURAL) {
        errors.extend(custom::check(object, old));
    }
    // The schema is the second opinion, for what nothing above looks at.
    if errors.is_empty() {
        errors = validate_builtin(object, schema);
    }
    errors
}

fn cause(error: &FieldError) -> Cause {
    Cause { reason: error.kind.reason().to_owned(), message: error.message(), field: error.path.clone() }
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
    let api_version = resource.api_version();
    act(&Writer {
        manager: &intent.manager,
        api_version: &api_version,
        subresource: &intent.subresource,
        reset,
        blank: &resource.blank,
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
    check_applied(resource, applied, schema.as_ref())?;
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

fn check_applied(resource: &Resource, applied: &Value, schema: Option<&Schema>) -> Result<(), ApiError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&applied["apiVersion"]), text(&applied["kind"]));
    let shown = if version.contains('/') { version.clone() } else { format!("/{version}") };
    if version != resource.api_version() || kind != resource.kind {
        return Err(ApiError::bad_request(format!("invalid object type: {shown}, Kind={kind}")));
    }
    let found = schema.map(|schema| managed::undeclared(applied, schema)).unwrap_or_default();
    let why = match found.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    let metadata = &applied["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    Err(ApiError::unnamed(format!(
        "failed to create typed patch object ({namespace}/{name}; {shown}, Kind={kind}): {why}"
    )))
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
        PatchError::Unknown(why) => ApiError::unnamed(why),
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
