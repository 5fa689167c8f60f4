//! Patch: the four kinds of patches, each turned into a replacement of the version that it was computed from.

use serde_json::Value;

use super::metadata::text;
use super::{ATTEMPTS, Engine, Intent, Outcome, is_stale};
use crate::catalogue::Resource;
use crate::model::{self, PatchKind};
use crate::status::{ApiError, Cause};

impl Engine {
    /// Applies `patch` to `name`.
    pub(crate) async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        kind: PatchKind,
        patch: &Value,
        intent: &Intent,
    ) -> Result<Outcome, ApiError> {
        let intent = &Intent { applied: kind == PatchKind::Apply, ..intent.clone() };
        for attempt in 1.. {
            let current = match self.store.get(&resource.table, namespace, name) {
                Some(current) => current,
                None if kind == PatchKind::Apply && intent.subresource.is_empty() => {
                    return self.apply_new(resource, namespace, name, patch, intent).await;
                }
                None => return Err(ApiError::not_found(resource.about(name))),
            };
            let old = self.value_as(resource, &current)?;
            let new = model::patch(resource, &old, kind, patch, intent)?;
            if text(&new, "name") != name {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({}) does not match the name on the URL ({name})",
                    text(&new, "name")
                )));
            }
            if kind != PatchKind::Apply {
                check_identity(resource, &old, &new)?;
                model::check_patched(resource, &new, kind, patch, intent)?;
            }
            let wanted = text(&new, "resourceVersion");
            if !wanted.is_empty() && wanted != current.revision.to_string() {
                return Err(ApiError::modified(resource.about(name)));
            }
            match self.replace(resource, &current, new, intent).await {
                Err(error) if attempt < ATTEMPTS && is_stale(&error) => {}
                outcome => return outcome,
            }
        }
        Err(ApiError::modified(resource.about(name)))
    }

    async fn apply_new(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: &Value,
        intent: &Intent,
    ) -> Result<Outcome, ApiError> {
        if let Some(refused) = &intent.creation_refused {
            return Err((**refused).clone());
        }
        if !text(patch, "uid").is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                text(patch, "uid")
            );
            return Err(ApiError::conflict(resource.about(name), why));
        }
        let given = text(patch, "name");
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let mut object = patch.clone();
        let metadata = super::metadata::metadata(&mut object)?;
        metadata.insert("name".into(), name.into());
        // It speaks of an object that is not there.
        metadata.remove("resourceVersion");
        let object = model::apply(resource, None, &object, intent)?;
        self.create(resource, namespace, object, intent).await
    }
}

/// A patch may not change what identifies the object.
fn check_identity(resource: &Resource, old: &Value, new: &Value) -> Result<(), ApiError> {
    if text(new, "namespace") != text(old, "namespace") {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    for field in ["uid", "deletionTimestamp"] {
        let given = text(new, field);
        if !given.is_empty() && given != text(old, field) {
            let cause = Cause::of(
                "Invalid",
                &format!("metadata.{field}"),
                format!("Invalid value: \"{given}\": field is immutable"),
            );
            return Err(ApiError::invalid(resource.about_kind(text(old, "name")), vec![cause]));
        }
    }
    Ok(())
}
