//! Delete: at once, gracefully, or when the finalizers are gone; and what becomes of dependents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::metadata::metadata;
use super::update::is_done;
use super::{ATTEMPTS, Engine, Intent, is_stale, now};
use crate::catalogue::{Resource, custom};
use crate::rest::query::Propagation;
use crate::status::ApiError;
use crate::store::{Change, Stored};

/// Set on an owner that goes only after its dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Set on an owner whose dependents are to lose their reference to it.
pub(crate) const ORPHAN: &str = "orphan";
/// Set on a definition until its objects are gone.
pub(crate) const CUSTOM_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) grace_period: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone; as it last was.
    Gone(Arc<Stored>),
    /// It waits for finalizers or for its node.
    Pending(Arc<Stored>),
}

impl Engine {
    /// Deletes `name`.
    pub(crate) async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        for _ in 0..ATTEMPTS {
            let current = self.get(resource, namespace, name)?;
            check_preconditions(resource, &current, options)?;
            match self.delete_version(resource, &current, options).await {
                Err(error) if is_stale(&error) => {}
                outcome => return outcome,
            }
        }
        Err(ApiError::modified(resource.about(name)))
    }

    async fn delete_version(
        &self,
        resource: &Resource,
        current: &Arc<Stored>,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let mut object = current.value().map_err(ApiError::internal)?;
        let already = current.facts.terminating;
        let before = object.clone();
        let grace = grace(resource, &object, options);
        set_finalizers(resource, &mut object, options)?;
        let fields = metadata(&mut object)?;
        if !already {
            fields.insert("deletionTimestamp".into(), later(grace).into());
            fields.insert("deletionGracePeriodSeconds".into(), json!(grace));
            if let Some(generation) = fields.get("generation").and_then(Value::as_i64) {
                fields.insert("generation".into(), json!(generation + 1));
            }
        } else if grace < fields.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) {
            fields.insert("deletionTimestamp".into(), later(grace).into());
            fields.insert("deletionGracePeriodSeconds".into(), json!(grace));
        }
        if resource.is("", "namespaces") {
            object["status"]["phase"] = "Terminating".into();
        }
        if is_done(resource, &object) {
            let change = Change::Remove { expected: current.revision };
            let gone = self.commit(resource, current.key.clone(), change, options.dry_run).await?;
            // A Pod is answered as it would be if it took its time.
            if resource.is("", "pods") {
                let last = self.draft(resource, &object)?;
                return Ok(Deleted::Gone(Arc::new(last.at_revision(current.key.clone(), gone.revision))));
            }
            return Ok(Deleted::Gone(gone));
        }
        if object == before {
            return Ok(Deleted::Pending(current.clone()));
        }
        let draft = self.draft(resource, &object)?;
        let change = Change::Replace { expected: current.revision, draft };
        let pending = self.commit(resource, current.key.clone(), change, options.dry_run).await?;
        Ok(Deleted::Pending(pending))
    }

    /// Takes one finalizer off, and the object with it when that was the last thing it waited for.
    pub(crate) async fn drop_finalizer(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        finalizer: &str,
    ) -> Result<(), ApiError> {
        for _ in 0..ATTEMPTS {
            let Some(current) = self.store.get(&resource.table, namespace, name) else { return Ok(()) };
            let mut object = self.value_as(resource, &current)?;
            let list = if finalizer == "kubernetes" { &mut object["spec"] } else { &mut object["metadata"] };
            if let Some(finalizers) = list["finalizers"].as_array_mut() {
                finalizers.retain(|other| other != finalizer);
            }
            let mut intent = Intent::internal("purlin");
            if finalizer == "kubernetes" {
                intent.subresource = "finalize".into();
            }
            match self.replace(resource, &current, object, &intent).await {
                Err(error) if is_stale(&error) => {}
                Err(error) if error.code == 404 => return Ok(()),
                outcome => return outcome.map(drop),
            }
        }
        Err(ApiError::modified(resource.about(name)))
    }
}

fn check_preconditions(
    resource: &Resource,
    current: &Stored,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let about = resource.about_kind(&current.key.name);
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != &*current.facts.uid) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            current.facts.uid
        );
        return Err(ApiError::conflict(about, why));
    }
    if let Some(version) =
        options.resource_version.as_deref().filter(|version| *version != current.revision.to_string())
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            current.revision
        );
        return Err(ApiError::conflict(about, why));
    }
    Ok(())
}

/// Seconds that the object may take to end. Only a Pod on a node takes any.
fn grace(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is("", "pods") {
        return 0;
    }
    let bound = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !bound || ended {
        return 0;
    }
    let asked = options.grace_period.or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64());
    asked.unwrap_or(30).max(0)
}

fn later(seconds: i64) -> String {
    let at = jiff::Timestamp::now().saturating_add(jiff::SignedDuration::from_secs(seconds));
    at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_else(|_| now())
}

fn set_finalizers(resource: &Resource, object: &mut Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let fields = metadata(object)?;
    let mut finalizers: Vec<Value> =
        fields.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = match options.propagation {
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Background) => Some(""),
        None => None,
    };
    if let Some(wanted) = wanted {
        finalizers
            .retain(|finalizer| finalizer == wanted || (finalizer != FOREGROUND && finalizer != ORPHAN));
        if !wanted.is_empty() && !finalizers.iter().any(|finalizer| finalizer == wanted) {
            finalizers.push(wanted.into());
        }
    }
    let first = !fields.contains_key("deletionTimestamp");
    if first && resource.is(custom::GROUP, custom::PLURAL) && !finalizers.iter().any(|f| f == CUSTOM_CLEANUP)
    {
        finalizers.push(CUSTOM_CLEANUP.into());
    }
    if finalizers.is_empty() {
        fields.remove("finalizers");
    } else {
        fields.insert("finalizers".into(), Value::Array(finalizers));
    }
    Ok(())
}
