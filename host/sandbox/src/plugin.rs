//! A loaded plugin: what callers hold and ask.

use std::sync::Arc;
use std::time::Duration;

use purlin_registry::Manifest;
use serde_json::Value;

use crate::config::Limits;
use crate::error::CallError;
use crate::v0_1::{Context, Event, FieldError, Search, Selector, Suggestion, SyncRequest};

/// Whom a call is about, for the plugin's log lines and for traces: `kubeflow.org/v1 TFJob default/mnist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Names an object of a cluster; `namespace` is empty where the kind has none.
    pub fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Subject {
        let slash = if namespace.is_empty() { "" } else { "/" };
        Subject(format!("{api_version} {kind} {namespace}{slash}{name}").into())
    }

    /// Calls that are about no object, such as `algorithms`.
    pub fn none() -> Subject {
        Subject("".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A dialect's answer to `sync` or `finalize`, checked: each child is an object with `apiVersion`, `kind` and
/// `metadata.name`, and the status is an object.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncAnswer {
    /// Every child that should exist.
    pub children: Vec<Value>,
    /// The parent's whole new status; `None` leaves it as it is.
    pub status: Option<Value>,
    /// Call again after so long even if nothing changes.
    pub requeue_after: Option<Duration>,
    /// What to tell the user.
    pub events: Vec<Event>,
}

/// A component that was loaded. Every call runs in a fresh instance; calls may be made from many tasks at once. A call
/// whose future is dropped is stopped.
pub struct Plugin {}

impl Plugin {
    /// `sha256:...` of the component.
    pub fn digest(&self) -> &str {
        unimplemented!()
    }

    /// What the plugin says about itself.
    pub fn manifest(&self) -> &Manifest {
        unimplemented!()
    }

    /// What each call may use.
    pub fn limits(&self) -> Limits {
        unimplemented!()
    }

    /// The context for a request to this plugin, with its configuration.
    pub fn context(&self, now_ms: u64, seed: u64) -> Context {
        unimplemented!("{now_ms} {seed}")
    }

    /// Dialects: which objects `sync` must see beside the parent (one object as JSON) and its children.
    pub async fn related(
        &self,
        subject: &Subject,
        context: Context,
        parent: impl Into<Arc<str>>,
    ) -> Result<Vec<Selector>, CallError> {
        unimplemented!("{subject:?} {context:?} {}", parent.into())
    }

    /// Dialects: the desired state, from the observed state.
    pub async fn sync(
        &self,
        subject: &Subject,
        request: impl Into<Arc<SyncRequest>>,
    ) -> Result<SyncAnswer, CallError> {
        unimplemented!("{subject:?} {:?}", request.into())
    }

    /// Dialects: the same while the parent is being deleted.
    pub async fn finalize(
        &self,
        subject: &Subject,
        request: impl Into<Arc<SyncRequest>>,
    ) -> Result<SyncAnswer, CallError> {
        unimplemented!("{subject:?} {:?}", request.into())
    }

    /// Tuners: names of the algorithms.
    pub async fn algorithms(&self) -> Result<Vec<String>, CallError> {
        unimplemented!()
    }

    /// Tuners: all that keeps a search from being run.
    pub async fn validate(
        &self,
        subject: &Subject,
        search: impl Into<Arc<Search>>,
    ) -> Result<Vec<FieldError>, CallError> {
        unimplemented!("{subject:?} {:?}", search.into())
    }

    /// Tuners: up to `count` new points.
    pub async fn suggest(
        &self,
        subject: &Subject,
        search: impl Into<Arc<Search>>,
        count: u32,
    ) -> Result<Vec<Suggestion>, CallError> {
        unimplemented!("{subject:?} {:?} {count}", search.into())
    }

    /// Tuners: ids of running trials that are not worth finishing.
    pub async fn stop(
        &self,
        subject: &Subject,
        search: impl Into<Arc<Search>>,
    ) -> Result<Vec<String>, CallError> {
        unimplemented!("{subject:?} {:?}", search.into())
    }
}
