//! What each verb does to an object, without HTTP: the caller has parsed the request, the answer is an object.
//!
//! The REST layer, the garbage collector and the namespace lifecycle all act through here, so an object can be changed
//! in no other way. Everything decided here is decided from one version of an object and written under the condition
//! that it is still that version.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod metadata;
pub(crate) mod patch;
pub(crate) mod scale;
pub(crate) mod update;

use std::sync::Arc;

use purlin_schema::{convert, typed};
use serde_json::Value;

use crate::auth::Author;
use crate::auth::rbac::Rbac;
use crate::catalogue::{Catalogue, Resource, custom};
use crate::rest::query::{FieldValidation, Query};
use crate::status::ApiError;
use crate::store::{Change, Draft, Key, Store, Stored, WriteError};

/// How often an operation that the caller did not pin to a version is tried again when the object changed meanwhile.
const ATTEMPTS: usize = 8;

/// The parts of a request that shape a write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intent {
    /// Who the fields belong to: `fieldManager`, or the start of the user agent.
    pub(crate) manager: String,
    pub(crate) validation: FieldValidation,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
    /// Empty for the object itself, `status` for its status.
    pub(crate) subresource: String,
    /// The object comes out of a server-side apply, which has already said who owns what.
    pub(crate) applied: bool,
    /// Paths of fields that the client set twice.
    pub(crate) twice: Vec<String>,
    /// Whose rights bound what a role or binding may give; nobody's for the server itself.
    pub(crate) author: Option<Author>,
    /// What an apply answers that would make an object, where its author may only change those that are there.
    pub(crate) creation_refused: Option<Box<ApiError>>,
}

impl Intent {
    /// From a request's query and user agent.
    pub(crate) fn new(query: &Query, user_agent: &str, subresource: &str) -> Self {
        let agent = user_agent.split('/').next().filter(|agent| !agent.is_empty()).unwrap_or("unknown");
        Self {
            manager: query.field_manager.clone().unwrap_or_else(|| agent.to_owned()),
            validation: query.field_validation,
            dry_run: query.dry_run,
            force: query.force,
            subresource: subresource.to_owned(),
            applied: false,
            twice: Vec::new(),
            author: None,
            creation_refused: None,
        }
    }

    /// Purlin's own writes.
    pub(crate) fn internal(manager: &str) -> Self {
        Self { manager: manager.to_owned(), validation: FieldValidation::Ignore, ..Self::default() }
    }
}

/// What a write led to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) object: Arc<Stored>,
    pub(crate) created: bool,
    /// Sentences for `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) catalogue: Catalogue,
    pub(crate) rbac: Rbac,
}

impl Engine {
    /// Over an open store: registers the custom resources that it holds.
    pub(crate) fn new(store: Store) -> Self {
        let rbac = Rbac::new(store.clone());
        let engine = Self { store, catalogue: Catalogue::builtin(), rbac };
        for stored in engine.store.list(custom::TABLE, None).items {
            match stored.value() {
                Ok(definition) => engine.serve_custom(&definition),
                Err(error) => {
                    tracing::error!(name = %stored.key.name, %error, "a stored definition cannot be read")
                }
            }
        }
        engine
    }

    /// One object, or 404.
    pub(crate) fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Stored>, ApiError> {
        self.store
            .get(&resource.table, namespace, name)
            .ok_or_else(|| ApiError::not_found(resource.about(name)))
    }

    /// Refuses what would give more rights than its author has.
    fn check_author(
        &self,
        resource: &Resource,
        namespace: &str,
        old: Option<&Value>,
        new: &Value,
        intent: &Intent,
    ) -> Result<(), ApiError> {
        match &intent.author {
            Some(author) => self.rbac.check_write(author, resource, namespace, old, new),
            None => Ok(()),
        }
    }

    /// The object's body in the version that `resource` is served in.
    pub(crate) fn value_as(&self, resource: &Resource, stored: &Stored) -> Result<Value, ApiError> {
        let mut value = stored.value().map_err(ApiError::internal)?;
        if resource.custom.is_some() {
            value["apiVersion"] = resource.api_version().into();
        }
        if resource.converted {
            convert::event_from_core(&mut value);
            // What only the core form always has goes. What was stored is of the right types.
            let _ = typed::settle(&mut value, &resource.api_version(), &resource.kind);
        }
        // What is only tried has no version.
        if stored.revision == 0
            && let Some(metadata) = value["metadata"].as_object_mut()
        {
            metadata.remove("resourceVersion");
        }
        Ok(value)
    }

    /// Makes the served resources follow a definition.
    pub(crate) fn serve_custom(&self, definition: &Value) {
        let group = definition["spec"]["group"].as_str().unwrap_or_default();
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
        let resources =
            if custom::is_established(definition) { custom::resources(definition) } else { Vec::new() };
        self.catalogue.replace(group, plural, resources);
    }

    /// Writes `change`, unless it is a dry run, in which case the object is only made.
    pub(crate) async fn commit(
        &self,
        resource: &Resource,
        key: Key,
        change: Change,
        dry_run: bool,
    ) -> Result<Arc<Stored>, ApiError> {
        let name = key.name.clone();
        if dry_run {
            return match change {
                Change::Create(draft) => match self.store.get(&key.resource, &key.namespace, &key.name) {
                    Some(_) => Err(ApiError::already_exists(resource.about(&name))),
                    None => Ok(Arc::new(draft.at_revision(key, 0))),
                },
                Change::Replace { expected, draft } => Ok(Arc::new(draft.at_revision(key, expected))),
                Change::Remove { .. } => self.get(resource, &key.namespace, &name),
            };
        }
        let about = resource.about(&name);
        let stored = self.store.write(key, change).await.map_err(|error| match error {
            WriteError::Exists => ApiError::already_exists(about),
            WriteError::Missing => ApiError::not_found(about),
            WriteError::Changed => ApiError::modified(about),
            WriteError::Database(_) => ApiError::internal(error),
            WriteError::Closed => ApiError::unavailable(error.to_string()),
        })?;
        if resource.is(custom::GROUP, custom::PLURAL) {
            self.follow_definition(&stored.key.name);
        }
        Ok(stored)
    }

    /// Serves what the newest version of a definition says; two writers of one definition may arrive here in any order.
    fn follow_definition(&self, name: &str) {
        let Some((plural, group)) = name.split_once('.') else { return };
        match self.store.get(custom::TABLE, "", name).map(|stored| stored.value()) {
            Some(Ok(definition)) => self.serve_custom(&definition),
            Some(Err(error)) => tracing::error!(name, %error, "a stored definition cannot be read"),
            None => self.catalogue.replace(group, plural, Vec::new()),
        }
    }

    /// `object` in the form in which the resource is stored.
    pub(crate) fn draft(&self, resource: &Resource, object: &Value) -> Result<Draft, ApiError> {
        if resource.converted {
            let mut stored = object.clone();
            convert::event_to_core(&mut stored);
            return Draft::new(&stored).map_err(ApiError::internal);
        }
        Draft::new(object).map_err(ApiError::internal)
    }
}

/// Whether a failure is worth another attempt from the newest version.
pub(crate) fn is_stale(error: &ApiError) -> bool {
    error.code == 409 && error.reason == "Conflict" && error.message.contains("the object has been modified")
}

/// Now, as Kubernetes writes times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
