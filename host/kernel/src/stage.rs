//! What the loops ask of plugins, as traits.
//!
//! The loops know these and not how a plugin is run: `plugin::sandboxed` implements them over the sandbox, and tests
//! implement them natively. The types mirror `wit/v0.1/` word for word.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use purlin_registry::Manifest;

use crate::api::PluginSpec;

/// What a pure function cannot know by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// Derived from the object's UID.
    pub seed: u64,
}

/// One field that the user must correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field.
    pub field: String,
    /// What the user wrote.
    pub value: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.field, self.reason)
        } else {
            write!(f, "{}: {:?}: {}", self.field, self.value, self.reason)
        }
    }
}

/// Several field errors in one sentence.
pub(crate) fn sentence(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StageError {
    /// The user must change the object.
    #[error("{}", sentence(.0))]
    Invalid(Vec<FieldError>),
    /// Something is not ready yet.
    #[error("{reason}")]
    Retry {
        /// Not before this.
        after: Duration,
        /// Shown to the user.
        reason: String,
    },
    /// The plugin cannot go on.
    #[error("the plugin failed: {0}")]
    Failed(String),
    /// The call was ended from outside: it trapped, or went over a limit, or its answer made no sense.
    #[error("{message}")]
    Broken {
        /// `PluginTrapped`, `DeadlineExceeded`, `MemoryExceeded`, `OutputTooLarge`, `MalformedAnswer` or
        /// `PluginUnavailable`.
        reason: &'static str,
        /// What happened.
        message: String,
    },
}

impl StageError {
    /// One word for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            StageError::Invalid(_) => "InvalidSpec",
            StageError::Retry { .. } => "Retry",
            StageError::Failed(_) => "PluginFailed",
            StageError::Broken { reason, .. } => reason,
        }
    }
}

/// A range of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<T> {
    /// Smallest value.
    pub min: T,
    /// Largest value.
    pub max: T,
    /// Distance of neighbouring values.
    pub step: Option<T>,
    /// How probability is spread.
    pub scale: crate::api::Scale,
}

/// The values of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// Real numbers.
    Float(Range<f64>),
    /// Whole numbers.
    Int(Range<i64>),
    /// Listed numbers.
    Discrete(Vec<String>),
    /// Listed words.
    Categorical(Vec<String>),
}

/// How an earlier trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialOutcome {
    /// Created, not started.
    Pending,
    /// Running.
    Running,
    /// Ended and measured.
    Succeeded,
    /// Ended early; its measurements count.
    StoppedEarly,
    /// Ended without a usable measurement.
    Failed,
}

/// One reading of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The metric.
    pub metric: String,
    /// Counts the readings of this metric.
    pub step: u64,
    /// The reading.
    pub value: f64,
}

/// A trial that was asked for earlier.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchTrial {
    /// Its name.
    pub id: String,
    /// Its point.
    pub assignments: Vec<crate::api::Assignment>,
    /// How it stands.
    pub outcome: TrialOutcome,
    /// The objective's value, once known.
    pub objective: Option<f64>,
    /// Readings so far.
    pub measurements: Vec<Reading>,
}

/// The state of one search.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Time and seed.
    pub context: Context,
    /// The algorithm that is asked.
    pub algorithm: String,
    /// Its settings.
    pub settings: Vec<crate::api::Setting>,
    /// The space: names and domains.
    pub parameters: Vec<(String, Domain)>,
    /// What is searched for.
    pub objective: crate::api::Objective,
    /// Oldest first.
    pub trials: Vec<SearchTrial>,
    /// Trials in all.
    pub max_trials: Option<u32>,
}

/// A point to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// One for each parameter.
    pub assignments: Vec<crate::api::Assignment>,
    /// Labels for the trial.
    pub labels: Vec<crate::api::Setting>,
}

/// Objects that a parent's sync must see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelatedSelector {
    /// Such as `batch/v1`.
    pub api_version: String,
    /// Such as `Job`.
    pub kind: String,
    /// Where; see the contract for the meaning of none.
    pub namespace: Option<String>,
    /// Names to select.
    pub names: Vec<String>,
    /// A label selector.
    pub labels: String,
}

/// All that was observed of a parent. Objects are JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// Time and seed.
    pub context: Context,
    /// The object to translate.
    pub parent: String,
    /// What it owns.
    pub children: Vec<String>,
    /// What `related` asked for.
    pub related: Vec<String>,
}

/// What to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageEvent {
    /// Whether a person may have to act.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// What should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncResponse {
    /// Every child that should exist, as JSON.
    pub children: Vec<String>,
    /// The parent's whole status, as JSON.
    pub status: Option<String>,
    /// Call again after so long.
    pub requeue_after: Option<Duration>,
    /// What to tell the user.
    pub events: Vec<StageEvent>,
}

/// A plugin that can be called.
#[async_trait]
pub trait LoadedPlugin: Send + Sync {
    /// See `controller.related`.
    async fn related(&self, context: Context, parent: String) -> Result<Vec<RelatedSelector>, StageError>;
    /// See `controller.sync`.
    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, StageError>;
    /// See `controller.finalize`.
    async fn finalize(&self, request: SyncRequest) -> Result<SyncResponse, StageError>;
    /// See `tuner.algorithms`.
    async fn algorithms(&self) -> Result<Vec<String>, StageError>;
    /// See `tuner.validate`.
    async fn validate(&self, search: Search) -> Result<Vec<FieldError>, StageError>;
    /// See `tuner.suggest`.
    async fn suggest(&self, search: Search, count: u32) -> Result<Vec<Suggestion>, StageError>;
    /// See `tuner.stop`.
    async fn stop(&self, search: Search) -> Result<Vec<String>, StageError>;
}

/// A component that was pulled by its digest.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The digest that it was pulled by.
    pub digest: String,
    /// What it says about itself.
    pub manifest: Manifest,
    /// The component.
    pub component: bytes::Bytes,
}

/// Why a plugin cannot be had or run.
#[derive(Debug, thiserror::Error)]
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

/// Where components come from and how they are run.
#[async_trait]
pub trait PluginSource: Send + Sync + 'static {
    /// The digest that a reference stands for now.
    async fn resolve(&self, image: &str) -> Result<String, SourceError>;
    /// The component with this digest.
    async fn pull(&self, image: &str, digest: &str) -> Result<Pulled, SourceError>;
    /// A component made callable under the limits of its spec, with what it was granted.
    async fn load(&self, name: &str, pulled: &Pulled, spec: &PluginSpec) -> Result<Arc<dyn LoadedPlugin>, SourceError>;
}
