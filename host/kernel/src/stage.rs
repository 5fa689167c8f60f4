//! What the loops ask of plugins, as traits.
//!
//! The loops know these and not how a plugin is run or where it comes from: `plugin::sandboxed` implements them over
//! the sandbox and the registry, and tests implement them natively. The types are those of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use purlin_registry::auth::Credentials;
use purlin_registry::mirror::MirrorRule;
use purlin_registry::policy::{Finding, Mode};
use purlin_registry::{Manifest, Policy, Stage, Verdict};
use purlin_sandbox::contract::{Context, Fault, FieldError, Search, Selector, Suggestion, SyncRequest};
use purlin_sandbox::quota::{Quota, Usage};
use purlin_sandbox::service::PluginId;
use purlin_sandbox::{CallError, Subject, SyncAnswer};

use crate::api::PluginSpec;

/// A plugin that can be called. A stage that it does not serve answers with [`CallError::NoSuchStage`].
#[async_trait]
pub trait LoadedPlugin: Send + Sync {
    /// The context of a call to this plugin, with its configuration.
    fn context(&self, now_ms: u64, seed: u64) -> Context;

    /// See `lifecycle.check`. What has no such function can work.
    async fn check(&self, _: Context) -> Result<(), CallError> {
        Ok(())
    }

    /// See `controller.related`.
    async fn related(&self, _: &Subject, _: Context, _parent: String) -> Result<Vec<Selector>, CallError> {
        Err(CallError::NoSuchStage(Stage::Dialect))
    }

    /// See `controller.sync`.
    async fn sync(&self, _: &Subject, _: SyncRequest) -> Result<SyncAnswer, CallError> {
        Err(CallError::NoSuchStage(Stage::Dialect))
    }

    /// See `controller.finalize`.
    async fn finalize(&self, _: &Subject, _: SyncRequest) -> Result<SyncAnswer, CallError> {
        Err(CallError::NoSuchStage(Stage::Dialect))
    }

    /// See `tuner.algorithms`.
    async fn algorithms(&self) -> Result<Vec<String>, CallError> {
        Err(CallError::NoSuchStage(Stage::Tuner))
    }

    /// See `tuner.validate`.
    async fn validate(&self, _: &Subject, _: Search) -> Result<Vec<FieldError>, CallError> {
        Err(CallError::NoSuchStage(Stage::Tuner))
    }

    /// See `tuner.suggest`.
    async fn suggest(&self, _: &Subject, _: Search, _count: u32) -> Result<Vec<Suggestion>, CallError> {
        Err(CallError::NoSuchStage(Stage::Tuner))
    }

    /// See `tuner.stop`.
    async fn stop(&self, _: &Subject, _: Search) -> Result<Vec<String>, CallError> {
        Err(CallError::NoSuchStage(Stage::Tuner))
    }

    /// The component behind it, for calls from one plugin to another; none where it is native.
    fn component(&self) -> Option<Arc<purlin_sandbox::Plugin>> {
        None
    }
}

/// A component that was pulled by its digest.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The digest that it was pulled by.
    pub digest: String,
    /// The digest of the component itself.
    pub component_digest: String,
    /// What it says about itself.
    pub manifest: Manifest,
    /// The component.
    pub component: bytes::Bytes,
}

/// Why a plugin cannot be had or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is not going to work without a change.
    #[error("{message}")]
    Refused {
        /// One word for the condition.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// Where components come from and how they are made callable.
#[async_trait]
pub trait PluginSource: Send + Sync + 'static {
    /// The digest that a reference stands for now.
    async fn resolve(&self, image: &str) -> Result<String, SourceError>;

    /// What a policy makes of the component with this digest: asked before anything of it is pulled. A source whose
    /// plugins are part of the program has nothing to verify.
    async fn verify(&self, _image: &str, _digest: &str, _policy: &Policy) -> Result<Verdict, SourceError> {
        Ok(Verdict { mode: Mode::Off, finding: Finding::Off, rule: None, problems: Vec::new() })
    }

    /// What to show to registries from now on, by prefix, and where else plugins are.
    fn use_access(&self, _credentials: Vec<(String, Credentials)>, _mirrors: Vec<MirrorRule>) {}

    /// Limits what plugins use for a namespace together from now on; `None` ends the limit.
    fn use_quota(&self, _namespace: &str, _quota: Option<Quota>) {}

    /// What plugins have used for a namespace that has a quota.
    fn usage(&self, _namespace: &str) -> Option<Usage> {
        None
    }

    /// The component with this digest.
    async fn pull(&self, image: &str, digest: &str) -> Result<Pulled, SourceError>;

    /// A component made callable under the limits of its spec, with what it was granted.
    async fn load(
        &self,
        id: PluginId,
        pulled: &Pulled,
        spec: &PluginSpec,
    ) -> Result<Arc<dyn LoadedPlugin>, SourceError>;
}

/// Finds the plugin that serves a stage.
pub trait Stages: Send + Sync + 'static {
    /// The tuner that answers to an algorithm, and its plugin's name.
    fn tuner(&self, algorithm: &str) -> Option<(String, Arc<dyn LoadedPlugin>)>;

    /// Whether plugins are still being loaded. What nobody serves now may be served once they are.
    fn awaited(&self) -> bool {
        false
    }
}

/// Why no plugin serves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// None does.
    Missing,
    /// None that is loaded does, and others are being loaded.
    Awaited,
}

/// What `look` finds among the plugins, or why it finds nothing. `awaited` says whether some are being loaded.
pub fn find<T>(look: impl Fn() -> Option<T>, awaited: impl FnOnce() -> bool) -> Result<T, Absent> {
    if let Some(found) = look() {
        return Ok(found);
    }
    if awaited() {
        return Err(Absent::Awaited);
    }
    // It may have come in between.
    look().ok_or(Absent::Missing)
}

/// One word for a condition about a call that gave no answer.
pub fn fault_reason(error: &CallError) -> &'static str {
    match error {
        CallError::Fault(Fault::Invalid(_)) => "InvalidSpec",
        CallError::Fault(Fault::Retry(_)) => "Retry",
        CallError::Fault(Fault::Failed(_)) => "PluginFailed",
        CallError::Trap { .. } => "PluginTrapped",
        CallError::DeadlineExceeded(_) => "DeadlineExceeded",
        CallError::MemoryExceeded { .. } => "MemoryExceeded",
        CallError::QuotaExceeded { .. } => "QuotaExceeded",
        CallError::OutputTooLarge { .. } => "OutputTooLarge",
        CallError::Denied(_) => "NotGranted",
        CallError::Malformed(_) => "MalformedAnswer",
        CallError::Busy(_) => "PluginBusy",
        CallError::NoSuchStage(_) => "NoSuchStage",
        CallError::Host(_) => "HostError",
    }
}

/// Several field errors in one sentence.
pub(crate) fn sentence(errors: &[FieldError]) -> String {
    let one = |error: &FieldError| match error.value.as_str() {
        "" => format!("{}: {}", error.field, error.reason),
        value => format!("{}: {value:?}: {}", error.field, error.reason),
    };
    errors.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A field error.
pub(crate) fn field_error(
    field: impl Into<String>,
    value: impl Into<String>,
    reason: impl Into<String>,
) -> FieldError {
    FieldError { field: field.into(), value: value.into(), reason: reason.into() }
}
