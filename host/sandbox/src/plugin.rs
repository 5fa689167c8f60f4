//! A loaded plugin: what callers hold and ask. It is a thin front: admission, limits and verdicts are in `call`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use purlin_registry::{Manifest, Rights};
use serde_json::Value;
use wasmtime::component::InstancePre;

use crate::answer::{self, Child};
use crate::call::{self, CallState, Invocation, Origin};
use crate::config::Limits;
use crate::contract::invoke::{Algorithms, Check, Related, Stop, Suggest, Sync, Validate};
use crate::contract::{self, Context, Event, FieldError, Search, Selector, Suggestion, SyncRequest};
use crate::error::CallError;
use crate::gate::{Gate, HeldPlaces};
use crate::load::Host;
use crate::metrics::Name;
use crate::resolver::LogAllowance;
use crate::service::PluginId;

/// Whom a call is about, for the plugin's log lines and for traces: `batch/v1 Job default/train`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    text: Arc<str>,
    namespace: Arc<str>,
}

impl Subject {
    /// Names an object of a cluster; `namespace` is empty where the kind has none.
    pub fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Subject {
        let slash = if namespace.is_empty() { "" } else { "/" };
        Subject {
            text: format!("{api_version} {kind} {namespace}{slash}{name}").into(),
            namespace: namespace.into(),
        }
    }

    /// Calls that are about no object, such as `algorithms`.
    pub fn none() -> Subject {
        Subject { text: "".into(), namespace: "".into() }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The object's namespace; empty where there is none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// A dialect's answer to `sync` or `finalize`, checked: each child is an object with `apiVersion`, `kind` and
/// `metadata.name`, and the status is an object.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncAnswer {
    /// Every child that should exist.
    pub children: Vec<Child>,
    /// The parent's whole new status; `None` leaves it as it is.
    pub status: Option<Value>,
    /// Call again after so long even if nothing changes.
    pub requeue_after: Option<Duration>,
    /// What to tell the user.
    pub events: Vec<Event>,
}

/// A component that was loaded. Every call runs in a fresh instance; calls may be made from many tasks at once. A call
/// whose future is dropped is stopped.
pub struct Plugin {
    core: Arc<Core>,
}

/// What running calls share with the plugin.
pub(crate) struct Core {
    pub(crate) name: Name,
    pub(crate) id: PluginId,
    pub(crate) digest: String,
    pub(crate) manifest: Manifest,
    pub(crate) limits: Limits,
    pub(crate) config: String,
    pub(crate) rights: Rights,
    /// Whether it imports WASI.
    pub(crate) wasi: bool,
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) exports: contract::Exports,
    pub(crate) gate: Gate,
    pub(crate) held: HeldPlaces,
    pub(crate) log: LogAllowance,
    pub(crate) in_flight: Gauge,
    pub(crate) memory: Gauge<u64, AtomicU64>,
    pub(crate) host: Arc<Host>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.core;
        f.debug_struct("Plugin")
            .field("name", &core.name)
            .field("digest", &core.digest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) fn new(core: Arc<Core>) -> Plugin {
        Plugin { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// `sha256:...` of the component.
    pub fn digest(&self) -> &str {
        &self.core.digest
    }

    /// What the plugin says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.core.manifest
    }

    /// What each call may use.
    pub fn limits(&self) -> Limits {
        self.core.limits
    }

    /// The context for a request to this plugin, with its configuration.
    pub fn context(&self, now_ms: u64, seed: u64) -> Context {
        Context { now_ms, seed, config: self.core.config.clone() }
    }

    /// What the plugin may do.
    pub fn rights(&self) -> &Rights {
        &self.core.rights
    }

    /// Whether the plugin can work, as it says itself. A plugin of a version without `lifecycle` can.
    pub async fn check(&self, context: Context) -> Result<(), CallError> {
        if !self.core.exports.has_lifecycle() {
            return Ok(());
        }
        self.run(&Subject::none(), Check { context }).await
    }

    /// Dialects: which objects `sync` must see beside the parent (one object as JSON) and its children.
    pub async fn related(
        &self,
        subject: &Subject,
        context: Context,
        parent: impl Into<String>,
    ) -> Result<Vec<Selector>, CallError> {
        self.run(subject, Related { context, parent: parent.into() }).await
    }

    /// Dialects: the desired state, from the observed state.
    pub async fn sync(
        &self,
        subject: &Subject,
        request: impl Into<Arc<SyncRequest>>,
    ) -> Result<SyncAnswer, CallError> {
        answer::check(self.run(subject, Sync { request: request.into(), finalize: false }).await?).await
    }

    /// Dialects: the same while the parent is being deleted.
    pub async fn finalize(
        &self,
        subject: &Subject,
        request: impl Into<Arc<SyncRequest>>,
    ) -> Result<SyncAnswer, CallError> {
        answer::check(self.run(subject, Sync { request: request.into(), finalize: true }).await?).await
    }

    /// Tuners: names of the algorithms.
    pub async fn algorithms(&self) -> Result<Vec<String>, CallError> {
        self.run(&Subject::none(), Algorithms).await
    }

    /// Tuners: all that keeps a search from being run.
    pub async fn validate(
        &self,
        subject: &Subject,
        search: impl Into<Arc<Search>>,
    ) -> Result<Vec<FieldError>, CallError> {
        self.run(subject, Validate { search: search.into() }).await
    }

    /// Tuners: up to `count` new points.
    pub async fn suggest(
        &self,
        subject: &Subject,
        search: impl Into<Arc<Search>>,
        count: u32,
    ) -> Result<Vec<Suggestion>, CallError> {
        self.run(subject, Suggest { search: search.into(), count }).await
    }

    /// Tuners: ids of running trials that are not worth finishing.
    pub async fn stop(
        &self,
        subject: &Subject,
        search: impl Into<Arc<Search>>,
    ) -> Result<Vec<String>, CallError> {
        self.run(subject, Stop { search: search.into() }).await
    }

    async fn run<I: Invocation>(&self, subject: &Subject, invocation: I) -> Result<I::Answer, CallError> {
        call::run(&self.core, Origin::outermost(&self.core, subject), invocation).await
    }
}
