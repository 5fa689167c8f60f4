//! Create: from what the client sent to a stored object with an identity.

use serde_json::{Value, json};

use super::metadata::{check_name, generate_name, has_generation, metadata, text, tidy};
use super::{ATTEMPTS, Engine, Intent, Outcome, now};
use crate::catalogue::{Resource, custom};
use crate::model;
use crate::status::{About, ApiError, Cause};
use crate::store::{Change, Key};

impl Engine {
    /// Creates `object` in `namespace` (empty for cluster scope).
    pub(crate) async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: Value,
        intent: &Intent,
    ) -> Result<Outcome, ApiError> {
        if !text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::unnamed("resourceVersion should not be set on objects to be created"));
        }
        let base = text(&object, "generateName").to_owned();
        let generated = text(&object, "name").is_empty() && !base.is_empty();
        self.check_namespace(resource, namespace, text(&object, "name"))?;
        for attempt in 1.. {
            let mut object = object.clone();
            if generated {
                metadata(&mut object)?.insert("name".into(), generate_name(&base).into());
            }
            // What the server fills in may hold the name.
            let warnings = self.prepare_create(resource, namespace, &mut object, intent)?;
            let name = text(&object, "name").to_owned();
            check_name(resource, &name)?;
            let key = Key::new(resource.table.clone(), namespace, &name);
            let draft = self.draft(resource, &object)?;
            match self.commit(resource, key, Change::Create(draft), intent.dry_run).await {
                Err(error) if error.reason == "AlreadyExists" && !generated => {
                    let leaving = self.store.get(&resource.table, namespace, &name);
                    return Err(if leaving.is_some_and(|stored| stored.facts.terminating) {
                        error.prefixed("object is being deleted: ")
                    } else {
                        error
                    });
                }
                Err(error) if generated && attempt < ATTEMPTS && error.reason == "AlreadyExists" => {}
                Err(error) => return Err(error),
                Ok(object) => return Ok(Outcome { object, created: true, warnings }),
            }
        }
        Err(ApiError::internal("no free name was found"))
    }

    fn prepare_create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &mut Value,
        intent: &Intent,
    ) -> Result<Vec<String>, ApiError> {
        self.check_author(resource, namespace, None, object, intent)?;
        let name = text(object, "name").to_owned();
        if name.is_empty() && text(object, "generateName").is_empty() {
            return Err(ApiError::invalid(
                resource.about_kind(""),
                vec![Cause {
                    reason: "FieldValueRequired".into(),
                    message: "Required value: name or generateName is required".into(),
                    field: "metadata.name".into(),
                }],
            ));
        }
        let mut fresh =
            vec![("creationTimestamp", json!(now())), ("uid", json!(uuid::Uuid::new_v4().to_string()))];
        if has_generation(resource) {
            fresh.push(("generation", json!(1)));
        }
        if resource.namespaced {
            fresh.push(("namespace", json!(namespace)));
        }
        if resource.has_subresource("status")
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        let fields = metadata(object)?;
        if !intent.applied {
            fields.remove("managedFields");
        }
        for unwanted in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
            fields.remove(unwanted);
        }
        if !resource.namespaced {
            fields.remove("namespace");
        }
        fields.extend(fresh.into_iter().map(|(field, value)| (field.to_owned(), value)));
        tidy(object)?;
        if resource.is(custom::GROUP, custom::PLURAL) {
            custom::fill(object);
            custom::establish(object, &self.catalogue, &now());
        }
        let warnings = model::admit(resource, object, None, intent)?;
        if let Some(custom) = &resource.custom {
            object["apiVersion"] = crate::catalogue::api_version(&resource.group, &custom.storage).into();
        }
        Ok(warnings)
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), ApiError> {
        if !resource.namespaced {
            return Ok(());
        }
        let Some(stored) = self.store.get("/namespaces", "", namespace) else {
            return Err(ApiError::not_found(About { group: "", kind: "namespaces", name: namespace }));
        };
        if stored.facts.terminating {
            return Err(ApiError::namespace_terminating(resource.about(name), namespace));
        }
        Ok(())
    }
}
