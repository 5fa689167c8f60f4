//! Update: replacing an object or its status, keeping what belongs to the server.

use std::sync::Arc;

use serde_json::{Value, json};

use super::metadata::{carry_over, has_generation, is_new_generation, metadata, text, tidy};
use super::{ATTEMPTS, Engine, Intent, Outcome, is_stale, now};
use crate::catalogue::{Resource, custom};
use crate::model;
use crate::status::{ApiError, Cause};
use crate::store::{Change, Stored};

impl Engine {
    /// Replaces `name` by `object`. Without a resource version in it, the newest one is replaced.
    pub(crate) async fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: Value,
        intent: &Intent,
    ) -> Result<Outcome, ApiError> {
        let given = text(&object, "name");
        if given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let pinned = text(&object, "resourceVersion").to_owned();
        for attempt in 1.. {
            let current = self.get(resource, namespace, name)?;
            if !pinned.is_empty() && pinned != current.revision.to_string() {
                return Err(ApiError::modified(resource.about(name)));
            }
            if pinned.is_empty() && demands_version(resource) {
                return Err(ApiError::invalid(
                    resource.about(name),
                    vec![Cause {
                        reason: "FieldValueInvalid".into(),
                        message: "Invalid value: 0: must be specified for an update".into(),
                        field: "metadata.resourceVersion".into(),
                    }],
                ));
            }
            match self.replace(resource, &current, object.clone(), intent).await {
                Err(error) if pinned.is_empty() && attempt < ATTEMPTS && is_stale(&error) => {}
                outcome => return outcome,
            }
        }
        Err(ApiError::modified(resource.about(name)))
    }

    /// Replaces exactly the version `current`.
    pub(crate) async fn replace(
        &self,
        resource: &Resource,
        current: &Arc<Stored>,
        mut new: Value,
        intent: &Intent,
    ) -> Result<Outcome, ApiError> {
        let name = current.key.name.clone();
        let old = self.value_as(resource, current)?;
        let uid = text(&new, "uid");
        if !uid.is_empty() && uid != &*current.facts.uid {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current.facts.uid
            );
            return Err(ApiError::conflict(resource.about(&name), why));
        }
        carry_over(&old, &mut new)?;
        keep_other_half(resource, &old, &mut new, intent)?;
        tidy(&mut new)?;
        self.check_author(resource, &current.key.namespace, Some(&old), &new, intent)?;
        if resource.is(custom::GROUP, custom::PLURAL) {
            custom::fill(&mut new);
            custom::establish(&mut new, &self.catalogue, &now());
        }
        check_finalizers(resource, &old, &new)?;
        let warnings = model::admit(resource, &mut new, Some(&old), intent)?;
        if has_generation(resource)
            && intent.subresource.is_empty()
            && is_new_generation(resource, &old, &new)
        {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            metadata(&mut new)?.insert("generation".into(), json!(generation));
        }
        let mut compared = old.clone();
        for object in [&mut compared, &mut new] {
            metadata(object)?.remove("resourceVersion");
        }
        if compared == new {
            return Ok(Outcome { object: current.clone(), created: false, warnings });
        }
        if let Some(custom) = &resource.custom {
            new["apiVersion"] = crate::catalogue::api_version(&resource.group, &custom.storage).into();
        }
        let draft = self.draft(resource, &new)?;
        let object = if is_done(resource, &new) {
            // One change, not two: a crash in between would leave an object that nobody ever removes.
            let change = Change::Remove { expected: current.revision };
            self.commit(resource, current.key.clone(), change, intent.dry_run).await?;
            // The answer is the last version that there was to see.
            Arc::new(draft.at_revision(current.key.clone(), current.revision))
        } else {
            let change = Change::Replace { expected: current.revision, draft };
            self.commit(resource, current.key.clone(), change, intent.dry_run).await?
        };
        Ok(Outcome { object, created: false, warnings })
    }
}

/// Kinds whose update must say which version it replaces.
fn demands_version(resource: &Resource) -> bool {
    resource.custom.is_some()
        || resource.is("coordination.k8s.io", "leases")
        || resource.is("policy", "poddisruptionbudgets")
        || resource.is(custom::GROUP, custom::PLURAL)
}

/// An object that is going away may lose finalizers and gets no new ones.
fn check_finalizers(resource: &Resource, old: &Value, new: &Value) -> Result<(), ApiError> {
    if !old["metadata"]["deletionTimestamp"].is_string() {
        return Ok(());
    }
    let of = |object: &Value| -> Vec<String> {
        let all = object["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let before = of(old);
    let added: Vec<String> =
        of(new).into_iter().filter(|one| !before.contains(one)).map(|one| format!("\"{one}\"")).collect();
    if added.is_empty() {
        return Ok(());
    }
    let message = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let cause = Cause::of("Forbidden", "metadata.finalizers", message);
    Err(ApiError::invalid(resource.about_kind(text(old, "name")), vec![cause]))
}

/// Takes from the old object what this path may not change: the status, or everything but the status.
fn keep_other_half(
    resource: &Resource,
    old: &Value,
    new: &mut Value,
    intent: &Intent,
) -> Result<(), ApiError> {
    let set = |object: &mut Value, field: &str, value: Option<&Value>| {
        if let Some(fields) = object.as_object_mut() {
            match value {
                Some(value) => fields.insert(field.to_owned(), value.clone()),
                None => fields.remove(field),
            };
        }
    };
    match intent.subresource.as_str() {
        "" if resource.has_subresource("status") => {
            set(new, "status", old.get("status"));
            if resource.is("", "namespaces") {
                set(new, "spec", old.get("spec"));
            }
        }
        "status" => {
            let mut kept = old.clone();
            set(&mut kept, "status", new.get("status"));
            let fields = metadata(&mut kept)?;
            let carried: &[&str] = if resource.custom.is_some() {
                &["managedFields"]
            } else {
                &["managedFields", "labels", "annotations"]
            };
            for field in carried {
                match new["metadata"].get(*field) {
                    Some(value) => fields.insert((*field).to_owned(), value.clone()),
                    None => fields.remove(*field),
                };
            }
            *new = kept;
        }
        "finalize" => {
            let mut kept = old.clone();
            set(&mut kept, "spec", new.get("spec"));
            *new = kept;
        }
        _ => {}
    }
    Ok(())
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_done(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && empty(&metadata["finalizers"])
        && (!resource.is("", "namespaces") || empty(&object["spec"]["finalizers"]))
}
